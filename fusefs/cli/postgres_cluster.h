// A private PostgreSQL cluster: found, made once, started as a child on a unix socket only.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

inline constexpr int kPostgresMajor = 15;  // the oldest that the store works with

struct PostgresPrograms {
  std::string bin;  // directory with initdb and postgres
  int major = 0;
};
// The newest in $PATH or /usr/lib/postgresql/*/bin. `not_found` and `unsupported` (too old) name
// the package to install.
Result<PostgresPrograms> find_postgres();

struct ClusterOptions {
  PostgresPrograms programs;
  std::string data;                             // directory; made by prepare(), its parent exists
  std::string sockets;                          // directory, writable for `user`
  std::string log;                              // file, appended to
  std::optional<std::pair<uid_t, gid_t>> user;  // to run as (PostgreSQL refuses root)
  std::string user_name;                        // its name; also the database role
};

// Makes the cluster if `data` holds none; a half-made one (killed in the middle) is made anew.
// Returns true if it was made now.
Result<bool> prepare_cluster(const ClusterOptions& options);
// Starts it and returns when it accepts connections. The child ends (fast shutdown) when its parent
// does. A server of a previous, killed parent is waited for first.
Result<ProcessId> start_cluster(const ClusterOptions& options, std::chrono::milliseconds timeout);
// "postgresql://..." for a client of the same user.
std::string cluster_url(const ClusterOptions& options);

}  // namespace linkspan::cli
