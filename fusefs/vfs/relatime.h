// Access times as `relatime` keeps them: set after a read when the old one is not later than the
// last change, or is a day old. At once here, on the router soon and quietly; never on a read-only
// route.
//
// Threads: any; the router is told from a thread of its own.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "fusefs/vfs/tree.h"

namespace linkspan::vfs {

inline constexpr size_t kAccessTimes = 4096;  // that wait; more are not kept on the router
inline constexpr int64_t kAccessTimeAge = 24ll * 3600 * 1000000000;  // nanoseconds

class Relatime {
 public:
  Relatime(Tree* tree, const VfsOptions* options);  // not owned
  ~Relatime();

  bool due(const Attr& attr, Time now) const;
  // The node was read. True if its access time changed.
  bool accessed(Ino ino);
  // Before somebody sets the access time: what reads made of it must not come later.
  Status settle(Ino ino, const cache::Patience& patience);
  void stop();

 private:
  void run();

  Tree* tree_;
  const VfsOptions* options_;
  client::CancelToken stop_;
  std::mutex mutex_;  // leaf; guards what follows
  std::condition_variable wake_;
  std::condition_variable told_;
  std::map<Ino, Time> waiting_;
  Ino telling_;
  bool stopping_ = false;
  std::thread thread_;  // last
};

}  // namespace linkspan::vfs
