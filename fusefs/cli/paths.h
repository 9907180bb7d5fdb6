// Where Linkspan keeps its own things on this machine.
#pragma once

#include <string>

#include "linkspan/error.h"

namespace linkspan::cli {

// Durable: $LINKSPAN_STATE_DIR, else $XDG_STATE_HOME/linkspan, else /var/lib/linkspan (root) or
// ~/.local/state/linkspan. `override` (of --state-dir) comes first. Not created.
Result<std::string> state_directory(const std::string& override);

// One file per mount: <state>/mounts; for root without an override /run/linkspan-mount/mounts.
// Created 0700. A user without a home gets /tmp/linkspan-<uid>/mounts.
Result<std::string> mounts_directory(const std::string& override);

// A directory for unix sockets, short enough for sun_path (at most kSocketDirectoryBytes), unique
// for `purpose`, owned by the caller, created with `mode`.
inline constexpr size_t kSocketDirectoryBytes = 80;
Result<std::string> socket_directory(const std::string& purpose, unsigned mode);

// linkspan-routerd: beside this program, in the build folder's routerd/, or in $PATH.
Result<std::string> find_routerd();

}  // namespace linkspan::cli
