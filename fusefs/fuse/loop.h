// Reads a session's requests and runs their callbacks on a bounded pool of threads.
//
// Why not libfuse's own loop: when all of its threads block (the router is away), none is left to
// read an INTERRUPT, and a fatal signal no longer ends anything. Here one thread always reads: when
// the pool is at its bound, requests wait in a bounded backlog while INTERRUPT and FORGET are still
// served. Nor are threads cancelled with pthread_cancel(3), which C++ frames do not survive.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "linkspan/error.h"

struct fuse_session;
struct fuse_buf;
struct fuse_in_header;

namespace linkspan::fuse {

class OwnCalls;

struct LoopOptions {
  unsigned max_threads = 64;
  unsigned idle_threads = 10;      // more idle ones than these end
  size_t backlog_requests = 4096;  // read, waiting for a thread
  size_t backlog_bytes = 64ull << 20;
  bool statx = false;              // the callbacks answer FUSE_STATX, as getattr
  OwnCalls* own = nullptr;         // answers what it takes, before all else; not owned
  std::function<void()> on_ended;  // once, on a thread of the loop: must not stop() it
};

class Loop {
 public:
  Loop(fuse_session* session, LoopOptions options);
  ~Loop();  // stops
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Status start();
  // Blocks until the kernel ended the connection (unmounted, aborted) or stop() was called.
  void wait();
  bool ended() const;
  // Wakes and joins all threads. Requests that run are finished first: their calls have deadlines,
  // and the caller cancels them beforehand where it cannot wait. Not from a callback.
  void stop();

  // Tests and status.
  size_t threads() const;
  size_t backlog() const;

 private:
  using Bytes = std::vector<char>;
  enum class Next { process, keep_reading };

  void work(std::list<std::thread>::iterator self);
  bool receive(fuse_buf* buffer);
  bool answer_own(const fuse_buf& buffer);
  Next admit(const fuse_buf& buffer, bool urgent);
  void process(const fuse_buf& buffer);
  void answer(const fuse_buf& buffer);
  void refuse(const fuse_in_header& request);
  bool finish(std::list<std::thread>::iterator self, bool urgent);  // false: this thread ends
  bool spawn();                                                     // with mutex_ held

  fuse_session* const session_;
  const LoopOptions options_;

  mutable std::mutex mutex_;  // innermost; never held while a callback runs
  std::condition_variable changed_;
  std::list<std::thread> threads_;   // running
  std::list<std::thread> finished_;  // to be joined
  std::deque<Bytes> backlog_;        // not empty: every thread but one reader is busy
  size_t backlog_bytes_ = 0;
  unsigned idle_ = 0;  // reading, or about to
  bool ended_ = false;
};

}  // namespace linkspan::fuse
