// A thread for what may block for the store but belongs to no caller.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace linkspan::core {

// Threads: post() from any. Tasks run one after the other. Bounded by what posts: at most one task
// for each session and kRouterQueue held mutations for each tenant. mutex_ is a leaf.
class Background {
 public:
  using Task = std::function<void()>;

  Background();
  ~Background();  // runs what was posted
  void post(Task task);
  void post_all(std::vector<Task> tasks);

 private:
  void run();

  std::mutex mutex_;  // leaf
  std::condition_variable wake_;
  std::deque<Task> tasks_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when all else is there
};

}  // namespace linkspan::core
