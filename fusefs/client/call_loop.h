// One call of the client, try after try, until the answer, the deadline or the cancellation. Knows
// operation numbers and nothing of messages. Private to this folder.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string_view>

#include "fusefs/client/backoff.h"
#include "fusefs/client/gate.h"
#include "fusefs/client/op_tracker.h"

namespace linkspan::client {

enum class Method : uint8_t {
  lookup,
  getattr,
  readdir,
  read,
  xattrs,
  statfs,
  versions,
  changes,
  prefetch,
  create,
  remove,
  rename,
  link,
  set_attributes,
  commit,
  set_xattr,
  data_ranges,
  conflicts,
  settle,
  set_lock,
  test_lock,
  cancel_lock,
  narrow,
  give_up,
};
inline constexpr size_t kMethods = 24;
std::string_view to_string(Method method);

struct MethodCounters {
  std::atomic<uint64_t> calls{0}, failures{0}, retries{0}, nanoseconds{0};
};

// What calls share; owned by the client.
struct CallContext {
  Gate& gate;
  OpTracker& operations;
  std::function<void(uint64_t link)> suspect;
  BackoffLimits busy, reconnect;
  std::string address;
  std::atomic<uint64_t> seed{1};
  std::array<MethodCounters, kMethods> counters;
};

struct Failure {
  Error error;
  Origin origin = Origin::transport;
};

// The life of one call; one thread:
//   CallLoop loop(context, Method::lookup, call);
//   while (auto live = loop.next_try()) { try; then return, or loop.failed(failure); }
//   return loop.error();
class CallLoop {
 public:
  // `operation`: of a mutation; null for reads. Not owned.
  CallLoop(CallContext& context, Method method, const Call& call, Operation* operation = nullptr);
  ~CallLoop();
  CallLoop(const CallLoop&) = delete;
  CallLoop& operator=(const CallLoop&) = delete;

  // The session to try on, after the wait that the last failure asks for. Null: the call is over.
  std::shared_ptr<const Live> next_try();
  void failed(const Failure& failure);
  const Error& error() const { return error_; }
  CallGuard& guard() { return guard_; }

 private:
  using Steady = std::chrono::steady_clock::time_point;
  void give_up(Error error);
  std::string describe(const std::string& what) const;

  CallContext& context_;
  const Method method_;
  Operation* const operation_;
  CallGuard guard_;
  const Steady begun_;
  Backoff busy_, reconnect_;
  Error error_;
  bool over_ = false;
  bool unanswered_ = false;  // it ended without the router's answer
  unsigned tries_ = 0;
  unsigned odd_failures_ = 0;
  std::string last_failure_;
  uint64_t link_ = 0;         // of the try under way
  uint64_t failed_link_ = 0;  // not to be used before again_
  Steady again_{};
};

}  // namespace linkspan::client
