// What this router owns, claimed on a connection of its own: the server gives the claims up when
// that ends, so that a router which was killed is known at once to be gone.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "routerd/store/pg/connection.h"
#include "routerd/store/store.h"

namespace linkspan::store::pg {

// Threads: any; one beat at a time, of however many tenants.
class Claims {
 public:
  Claims(std::string conninfo, const Limits& limits)
      : conninfo_(std::move(conninfo)), limits_(limits) {}

  // Store::beat.
  Result<std::vector<Status>> beat(const std::vector<Ownership>& owned);

 private:
  // All with mutex_ held.
  Status connect();
  Result<std::vector<Status>> check(const std::vector<Ownership>& owned);
  void give_up(TenantId tenant);
  void claim(const std::vector<Ownership>& mine);
  void say(const std::vector<Ownership>& mine);

  const std::string conninfo_;
  const Limits limits_;
  std::mutex mutex_;  // held while the server is asked: the connection is one; a leaf
  std::unique_ptr<Connection> conn_;
  std::set<TenantId> held_;  // by conn_
};

}  // namespace linkspan::store::pg
