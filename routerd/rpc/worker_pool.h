// N threads and a bounded queue. What blocks (the store, a disk) runs here and nowhere else: gRPC
// has two threads on a two-core machine, and one that waits stops half of all calls.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace linkspan::rpc {

class WorkerPool {
 public:
  using Task = std::function<void()>;

  WorkerPool(std::string name, unsigned threads, size_t queue);
  ~WorkerPool();  // as stop()
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Any thread; never blocks. False: `queue` tasks wait already, or the pool is stopped; the task
  // was not taken. A task must not throw and must not wait for another task of this pool.
  bool submit(Task task);
  // Runs what was taken, then ends the threads. Idempotent; not from a task.
  void stop();
  size_t waiting() const;

 private:
  void run(unsigned index);

  const std::string name_;
  const size_t bound_;
  mutable std::mutex mutex_;  // leaf: nothing is called while it is held
  std::condition_variable wake_;
  std::deque<Task> queue_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;  // changed by the constructor and stop() only
  std::mutex stopping_;               // before mutex_: one stop() at a time
};

}  // namespace linkspan::rpc
