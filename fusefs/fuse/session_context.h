// What the callbacks of one connection share: libfuse's userdata.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>

#include "fusefs/fuse/deferred_set.h"
#include "fusefs/fuse/interrupts.h"

struct fuse_conn_info;
struct fuse_lowlevel_ops;

namespace linkspan::fuse {

class OwnCalls;

struct Counters {
  std::atomic<uint64_t> requests{0};
  std::atomic<uint64_t> unexpected_errors{0};  // EIO for an unknown reason
  std::atomic<uint64_t> unanswered{0};         // requests that a callback forgot
  std::atomic<uint64_t> failed_replies{0};     // the kernel did not take the reply: interrupted
  std::atomic<uint64_t> cancelled{0};          // ended by a fatal signal of the caller
};

// What a connection serves. Callbacks find it through SessionContext::operations.
class Operations {
 public:
  virtual ~Operations() = default;
  // libfuse's callbacks; `init` is set by the connection. Lives as long as this object.
  virtual const fuse_lowlevel_ops& table() const = 0;
  // Its getattr answers FUSE_STATX too (current_operation() says which it was).
  virtual bool answers_statx() const { return false; }
  // Who answers what the mount asks of itself; null: nobody does.
  virtual OwnCalls* own_calls() const { return nullptr; }
  // At INIT, after the connection's own choices.
  virtual void configure(fuse_conn_info*) {}
};

struct SessionContext {
  std::string name;  // for log lines: the mountpoint
  Operations* operations = nullptr;
  Counters counters;
  InterruptWatch interrupts;
  DeferredSet deferred;
  std::atomic<uint32_t> init_flags{0};  // that libfuse leaves out of its answer to INIT

  std::mutex mutex;  // of what follows; innermost
  std::condition_variable changed;
  bool initialised = false;  // INIT was answered
};

}  // namespace linkspan::fuse
