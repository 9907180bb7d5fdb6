// The router of tests without a wire.
#pragma once

#include <chrono>
#include <memory>

#include "routerd/core/router.h"
#include "tests/support/slowdown.h"
#include "tests/unit/core/forward_store.h"

namespace linkspan::test {

// A router over the memory store with one tenant and volumes "memory" (merge), "scratch"
// (last-writer-wins), "strict" (reject) and "skills" (read-only for agents).
class LocalRouter {
 public:
  explicit LocalRouter(std::chrono::milliseconds lease = std::chrono::milliseconds(5000) *
                                                         test::kSlowdown);
  core::Router& router() { return *router_; }
  core::testing::ForwardStore& store() { return *store_; }
  std::chrono::milliseconds lease() const { return lease_; }
  static constexpr const char* kAgent = "agent-token";          // skills read-only
  static constexpr const char* kPublisher = "publisher-token";  // skills writable

 private:
  const std::chrono::milliseconds lease_;
  std::unique_ptr<store::Store> memory_;
  core::testing::ForwardStore* store_ = nullptr;  // the router's
  std::unique_ptr<core::Router> router_;
};

}  // namespace linkspan::test
