// How many of something each session has, and each tenant: so that one who takes all that he can
// get leaves the others theirs.
#pragma once

#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "linkspan/error.h"
#include "linkspan/types.h"

namespace linkspan::rpc {

// Any thread.
class Shares {
 public:
  // `what`: in the error, "uploads".
  Shares(std::string what, size_t per_session, size_t per_tenant)
      : what_(std::move(what)), per_session_(per_session), per_tenant_(per_tenant) {}

  // One of them, given back when it dies. The Shares outlive it.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept { swap(other); }
    Ticket& operator=(Ticket&& other) noexcept {
      Ticket taken(std::move(other));
      swap(taken);
      return *this;
    }
    ~Ticket() {
      if (shares_) shares_->give_back(session_, tenant_);
    }

   private:
    friend class Shares;
    Ticket(Shares* shares, SessionId session, TenantId tenant)
        : shares_(shares), session_(session), tenant_(tenant) {}
    void swap(Ticket& other) {
      std::swap(shares_, other.shares_);
      std::swap(session_, other.session_);
      std::swap(tenant_, other.tenant_);
    }
    Shares* shares_ = nullptr;
    SessionId session_;
    TenantId tenant_;
  };

  // `busy`: that session, or tenant, has all that it may have.
  Result<Ticket> take(SessionId session, TenantId tenant) {
    const std::lock_guard lock(mutex_);
    if (count(sessions_, session) >= per_session_) return too_many("mount", per_session_);
    if (count(tenants_, tenant) >= per_tenant_) return too_many("tenant", per_tenant_);
    ++sessions_[session];
    ++tenants_[tenant];
    return Ticket(this, session, tenant);
  }

 private:
  template <class Id>
  using Counts = std::unordered_map<Id, size_t>;
  template <class Id>
  static size_t count(const Counts<Id>& counts, Id id) {
    const auto at = counts.find(id);
    return at == counts.end() ? 0 : at->second;
  }
  template <class Id>
  static void take_one(Counts<Id>& counts, Id id) {
    const auto at = counts.find(id);
    if (--at->second == 0) counts.erase(at);
  }
  Error too_many(const char* whose, size_t most) const {
    return fail(Code::busy, what_ + ": this " + whose + " has " + std::to_string(most) +
                                " under way, the most it may; try again");
  }
  void give_back(SessionId session, TenantId tenant) {
    const std::lock_guard lock(mutex_);
    take_one(sessions_, session);
    take_one(tenants_, tenant);
  }

  const std::string what_;
  const size_t per_session_, per_tenant_;
  std::mutex mutex_;  // leaf
  Counts<SessionId> sessions_;
  Counts<TenantId> tenants_;
};

}  // namespace linkspan::rpc
