// A user's side of the embedded default: joins the private servers, starting them if nobody has,
// and leaves them, which ends them when nobody else is there. Data is kept.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusefs/cli/local_layout.h"

namespace linkspan::cli {

class LocalStack {
 public:
  // From a process's only thread (it may wait for locks, and fork). Says on stderr what takes long.
  static Result<LocalStack> join(const std::string& state_dir);
  LocalStack(LocalStack&&) = default;
  LocalStack& operator=(LocalStack&&) = default;

  const LocalLayout& layout() const { return layout_; }
  std::string router() const { return layout_.router_address(); }

  // In a forked child that stays when its parent ends: holds a reference that it took itself. A pid
  // namespace (a container) does not show in /proc/locks what was locked by who has ended.
  void hold_as_own();
  // Gives up this process's part of the reference; forks share it, and the last one to leave is the
  // one that counts. With `wait`, returns when the servers have ended, if this was the last user.
  void leave(bool wait);

 private:
  LocalStack(LocalLayout layout, UniqueFd users)
      : layout_(std::move(layout)), users_(std::move(users)) {}

  LocalLayout layout_;
  UniqueFd users_;  // holds the shared lock
};

// The supervisor of these servers, if it lives.
std::optional<ProcessId> find_supervisor(const LocalLayout& layout);

}  // namespace linkspan::cli
