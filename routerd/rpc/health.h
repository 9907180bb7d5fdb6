// Keeps the gRPC health service true: SERVING while the store answers and nobody stops us.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "linkspan/error.h"

namespace grpc {
class HealthCheckServiceInterface;
}

namespace linkspan::rpc {

class HealthMonitor {
 public:
  // `service` must outlive it.
  HealthMonitor(grpc::HealthCheckServiceInterface* service, std::function<Status()> ping,
                std::chrono::milliseconds period);
  ~HealthMonitor();
  HealthMonitor(const HealthMonitor&) = delete;
  HealthMonitor& operator=(const HealthMonitor&) = delete;

  void stop();  // NOT_SERVING from now on; does not wait for a ping under way. Idempotent.

 private:
  void run();

  grpc::HealthCheckServiceInterface* const service_;
  const std::function<Status()> ping_;
  const std::chrono::milliseconds period_;
  std::mutex mutex_;  // before the health service's own
  std::condition_variable wake_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace linkspan::rpc
