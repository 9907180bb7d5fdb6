// Who is who: tenants and which router owns them, their volumes, tokens, sessions. The half of the
// store (store.h, where the rules for both stand) that knows nothing of nodes.
#pragma once

#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "linkspan/ops.h"

namespace linkspan::store {

struct Volume {
  VolumeId id;
  std::string name;
  Ino root;
  uint64_t used_bytes = 0;
  uint64_t used_files = 0;
  uint64_t quota_bytes = 0;  // 0: none
  uint64_t quota_files = 0;
};

// The state with which a router takes a tenant over.
struct TenantState {
  TenantId id;
  std::string name;
  Epoch epoch;   // of this ownership: older owners' mutations fail from now on
  Seq last_seq;  // the highest that was ever used
  std::vector<Volume> volumes;
  // The longest lease that earlier owners said that they grant; those may still run. 0: not known.
  std::chrono::milliseconds earlier_lease{};
};

// What a router says of a tenant that it owns.
struct Ownership {
  TenantId tenant;
  Epoch epoch;
  // The longest that it grants, or that an earlier owner granted whose leases may still run.
  std::chrono::milliseconds lease{};
};

struct VolumeSpec {
  std::string name;
  uint64_t quota_bytes = 0, quota_files = 0;
  uint32_t keep_versions = 1000;  // retention; at least the head stays
  uint32_t keep_days = 90;
};
struct TenantSpec {
  std::string name;
  std::vector<VolumeSpec> volumes;
};

using TokenHash = std::array<uint8_t, 32>;  // SHA-256 of the whole token text
TokenHash hash_token(std::string_view token);
// "lsp_" and 43 base64url characters: 256 bits of the kernel's randomness.
Result<std::string> new_token();

struct TokenRecord {
  TokenHash hash{};
  std::string tenant;  // name
  std::string principal;
  std::string sandbox;        // label; empty: the router makes one up for each session
  std::vector<Route> routes;  // path, volume, rights, policy, patterns, reaches, timeout_ms
  Time expires;               // ns == 0: never
  bool revoked = false;

  // Of configured ones; what was narrowed from them has it from there.
  bool bind = false;                 // to the sandbox that uses it first
  std::vector<std::string> sources;  // address ranges, as SourceRange has them; empty: any
  std::chrono::seconds renew{};      // it ends so long after its last session; 0: it does not

  // What became of it; put_token() leaves that as it is.
  TokenHash parent{};    // it was narrowed from that one; zeros: it was configured
  TokenHash bound_to{};  // SHA-256 of the first sandbox's secret; zeros: of none yet
  Time renewed_until;    // ns == 0: no session used it yet, or `renew` is 0

  bool narrowed() const { return parent != TokenHash{}; }
};

// A token that is there and not revoked, nor any that it was narrowed from.
struct ValidToken {
  TokenHash hash{};
  Time ends;  // the first of their expiries and ends of renewal; ns == 0: never
  friend bool operator==(const ValidToken&, const ValidToken&) = default;
};

struct SessionRecord {
  SessionId id;
  TenantId tenant;
  TokenHash token{};
  std::array<uint8_t, 16> secret{};
  std::string principal, sandbox;
  Time attached;
};

class Tenancy {
 public:
  virtual ~Tenancy() = default;

  // Creates what is missing (tenant, volumes with their root directories: mode 0755, or updated
  // quotas); never removes.
  virtual Result<TenantId> provision(const TenantSpec& spec, Time now) = 0;
  // `not_found`. Takes ownership: a new epoch; waits for mutations of the old owner that are under
  // way. `lease`: the longest that the new one will grant.
  virtual Result<TenantState> open_tenant(const std::string& name,
                                          std::chrono::milliseconds lease) = 0;
  // Does a router that lives own the tenant: is its claim held, and was its last beat() less than
  // the lease ago that it said, by the store's clock? (`silence`: where it said none. A clock that
  // was set back makes it seem silent.) A guess: who takes the tenant over although its owner lives
  // fences it, no more. False: no such tenant.
  virtual Result<bool> is_served(const std::string& name, std::chrono::milliseconds silence) = 0;
  // From the owner, while it lives; of all its tenants at once, and none of them waits for another.
  // An answer for each, in their order. `fenced`: another took it over, at some time; its claim is
  // given up. ok: nobody had when the call began; the claim is held where that is possible.
  // `not_found`.
  virtual Result<std::vector<Status>> beat(const std::vector<Ownership>& owned) = 0;
  // `count` inode numbers that were never used, the first of them. From 16 on.
  virtual Result<Ino> reserve_inodes(TenantId tenant, uint32_t count) = 0;
  // Insert or replace a configured token. To whom it was bound, and until when it was renewed,
  // stays, unless it does not bind or renew now. A revoked token is valid again; what had been
  // narrowed from it stays revoked.
  virtual Status put_token(const TokenRecord& token) = 0;
  // Inserts one that was narrowed from `token.parent`, in the family of the configured `root`.
  // `not_found`: the parent is not there. `busy`: the parent, or the family, has as many as
  // limits::kTokenChildren and kTokenFamily allow that are neither revoked nor over; those that
  // are may be removed to make room.
  virtual Status narrow_token(const TokenRecord& token, const TokenHash& root, Time now) = 0;
  // Revokes every configured token of the tenant but these; returns how many it revoked.
  // `not_found`: no such tenant.
  virtual Result<uint64_t> revoke_other_tokens(const std::string& tenant,
                                               const std::vector<TokenHash>& kept) = 0;
  virtual Result<TokenRecord> find_token(const TokenHash& hash) = 0;  // not_found
  // Those of them that are there, and neither they nor any that they were narrowed from is revoked,
  // in one question. Whether they have expired is not looked at, but told.
  virtual Result<std::vector<ValidToken>> valid_tokens(const std::vector<TokenHash>& hashes) = 0;
  // To whom it is bound after that: the first who ever asked. `not_found`.
  virtual Result<TokenHash> bind_token(const TokenHash& hash, const TokenHash& to) = 0;
  // Moves ends of renewal ahead, in one question; never back, and none that is over at `now`.
  virtual Status renew_tokens(const std::vector<ValidToken>& until, Time now) = 0;
  // Insert or replace. `fenced`.
  virtual Status put_session(const SessionRecord& session, Epoch epoch) = 0;
  virtual Result<SessionRecord> find_session(SessionId id) = 0;  // not_found
  virtual Result<std::vector<SessionRecord>> live_sessions(TenantId tenant) = 0;
  // Ends it and forgets its operation results. Idempotent. `fenced`: it may live on at the new
  // owner.
  virtual Status end_session(TenantId tenant, SessionId id, Epoch epoch) = 0;
};

}  // namespace linkspan::store
