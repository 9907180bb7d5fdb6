// Files of the embedded default (--local): a private cluster and router under the state directory.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

struct LocalLayout {
  std::string root;     // <state>/local
  std::string sockets;  // a short directory of its own
  // Whom the servers run as: another user when we are root.
  std::optional<std::pair<uid_t, gid_t>> user;
  std::string user_name;

  std::string data() const { return root + "/pg"; }
  std::string postgres_log() const { return root + "/postgres.log"; }
  std::string router_log() const { return root + "/routerd.log"; }
  std::string router_config() const { return root + "/routerd.toml"; }
  std::string agent_token() const { return root + "/agent.token"; }
  std::string publisher_token() const { return root + "/publisher.token"; }
  std::string keep() const { return root + "/keep"; }        // stay without users
  std::string running() const { return root + "/running"; }  // the supervisor's pid and start
  // flock(2) files. Order: start before users; supervisor is only ever tried.
  std::string start_lock() const { return root + "/start.lock"; }
  std::string users_lock() const { return root + "/users.lock"; }            // shared: one each
  std::string supervisor_lock() const { return root + "/supervisor.lock"; }  // held while it lives
  std::string postgres_sockets() const { return sockets + "/pg"; }
  std::string router_sockets() const { return sockets + "/router"; }
  std::string router_address() const { return "unix:" + router_sockets() + "/router.sock"; }
};

// Names only; nothing is created.
Result<LocalLayout> local_layout(const std::string& state_override);
// The directory of the lock files and all else.
Status make_local_root(const LocalLayout& layout);
// With the start lock, or the supervisor's: creates the other directories with the owners they
// need, and says which part of the path the servers' user cannot pass.
Status make_local_directories(LocalLayout* layout);
// With the supervisor's lock, when no server runs.
void remove_socket_directories(const LocalLayout& layout);

}  // namespace linkspan::cli
