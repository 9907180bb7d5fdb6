// Where Linkspan keeps its own things on this machine.
#pragma once

#include <string>

#include "linkspan/error.h"

namespace linkspan::cli {

// Durable: $LINKSPAN_STATE_DIR, else $XDG_STATE_HOME/linkspan, else /var/lib/linkspan (root) or
// ~/.local/state/linkspan. `override` (of --state-dir) comes first. Not created.
Result<std::string> state_directory(const std::string& override);

// The error of a state directory that cannot be made or written to, with the mend.
Error with_state_mend(const Error& error);

// One file per mount: <state>/mounts; for root without an override /run/linkspan-mount/mounts.
// Created 0700. A user without a home gets /tmp/linkspan-<uid>/mounts.
Result<std::string> mounts_directory(const std::string& override);

// For large unsaved writes: $TMPDIR where that is absolute, else /tmp.
std::string spool_directory();

// A directory for unix sockets, short enough for sun_path (at most kSocketDirectoryBytes), unique
// for `purpose`, owned by the caller: made with `mode`, or found (else where it would be made).
inline constexpr size_t kSocketDirectoryBytes = 80;
Result<std::string> make_socket_directory(const std::string& purpose, unsigned mode);
std::string find_socket_directory(const std::string& purpose);

// linkspan-routerd: beside this program, in the build folder's routerd/, or in $PATH.
Result<std::string> find_routerd();

}  // namespace linkspan::cli
