// Looks every now and then after what waits for a client that may never speak again.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace linkspan::rpc {

class Sweepable {
 public:
  virtual ~Sweepable() = default;
  // On the sweeper's thread, without any lock of its own held; must not block.
  virtual void sweep(std::chrono::steady_clock::time_point now) = 0;
  // The router is stopping for good: end, and tell the client why.
  virtual void stop() = 0;
};

class Sweeper {
 public:
  explicit Sweeper(std::chrono::milliseconds period);
  ~Sweeper();
  Sweeper(const Sweeper&) = delete;
  Sweeper& operator=(const Sweeper&) = delete;

  void add(const std::shared_ptr<Sweepable>& what);  // forgotten by itself when it dies
  void stop_all();                                   // calls stop() of each

 private:
  void run();
  std::vector<std::shared_ptr<Sweepable>> alive();

  const std::chrono::milliseconds period_;
  std::mutex mutex_;  // leaf
  std::condition_variable wake_;
  std::vector<std::weak_ptr<Sweepable>> all_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace linkspan::rpc
