#include "routerd/rpc/health.h"

#include <grpcpp/health_check_service_interface.h>
#include <pthread.h>

#include "routerd/rpc/log.h"

namespace linkspan::rpc {

HealthMonitor::HealthMonitor(grpc::HealthCheckServiceInterface* service,
                             std::function<Status()> ping, std::chrono::milliseconds period)
    : service_(service), ping_(std::move(ping)), period_(period), thread_([this] { run(); }) {}

HealthMonitor::~HealthMonitor() {
  stop();
  thread_.join();
}

void HealthMonitor::stop() {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  stopped_ = true;
  service_->SetServingStatus(false);
  wake_.notify_all();
}

void HealthMonitor::run() {
  pthread_setname_np(pthread_self(), "rpc-health");
  bool serving = true;
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    lock.unlock();
    const Status there = ping_();
    if (there.ok() != serving) {
      if (there.ok())
        log_info("the store answers again");
      else
        log_error("the store does not answer: " + there.error().message);
    }
    serving = there.ok();
    lock.lock();
    if (stopped_) return;
    service_->SetServingStatus(serving);
    wake_.wait_for(lock, period_, [this] { return stopped_; });
  }
}

}  // namespace linkspan::rpc
