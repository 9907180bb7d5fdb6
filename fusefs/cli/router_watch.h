// Keeps a command from waiting as long as a route may (30 s, or what the operator chose) for a
// router that is away: a person sits before it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "linkspan/error.h"

namespace linkspan::cli {

// The top of the mount that `path` is on, asking no mount: by what is mounted where, and symlinks
// outside of mounts. Empty: it is on none.
std::string mount_above(const std::string& path);

// While it lives, a thread looks at the mount's status, which never waits for the router. When that
// has been away for kRouterPatience on end, it says so and ends the process.
class RouterWatch {
 public:
  static constexpr std::chrono::seconds kRouterPatience{10};

  // Of the mount that `path` is on (empty: the working directory); if it is on none, nobody is
  // watched. `status`: to exit with.
  explicit RouterWatch(const std::string& path, int status = 1);
  ~RouterWatch();
  RouterWatch(const RouterWatch&) = delete;
  RouterWatch& operator=(const RouterWatch&) = delete;

  // From now on the process goes on: what it does cannot be broken off without harm.
  void stop();
  // The same error; where the router is away, and it does not say so, with that.
  Error explain(Error error) const;

 private:
  void run();

  const std::chrono::steady_clock::time_point begun_;
  const std::string file_;  // status.json; empty: nobody is watched
  const int status_;
  std::mutex mutex_;  // leaf
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace linkspan::cli
