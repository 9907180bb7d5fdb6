// What all calls share: admission, credentials, the reply's status, counting. Included by the
// services only (it needs gRPC).
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>

#include "linkspan/convert.h"
#include "linkspan/convert_status.h"
#include "linkspan/error.h"
#include "routerd/core/router.h"
#include "routerd/rpc/admission.h"
#include "routerd/rpc/log.h"
#include "routerd/rpc/metrics.h"
#include "routerd/rpc/shares.h"
#include "routerd/rpc/spool.h"
#include "routerd/rpc/sweeper.h"
#include "routerd/rpc/worker_pool.h"

namespace linkspan::rpc {

// At most one call at a time runs on a thread of gRPC's own. Any thread.
class InlineSlot {
 public:
  bool take() { return !taken_.exchange(true, std::memory_order_acquire); }
  void give_back() { taken_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> taken_{false};
};

// The parts that every service works with; owned by Server, which outlives all calls.
struct Front {
  core::Router* router;
  WorkerPool* workers;   // the store's: core calls that block
  InlineSlot* here;      // for one of them that may run where it arrived
  WorkerPool* spoolers;  // the spool's disk
  Admission* admission;
  Metrics* metrics;
  SpoolBudget* budget;
  Sweeper* sweeper;
  Shares* uploads;
  Shares* streams;
  Shares* walks;
  Spool::Options spool;
  std::chrono::milliseconds upload_stall;
  std::chrono::milliseconds hello_wait;
  std::chrono::milliseconds walk_stall;
};

inline Error stopping() {
  return fail(Code::unavailable, "the router is stopping; the mount tries again by itself");
}
inline Error queue_full() {
  return fail(Code::busy, "the router's queue is full; try again");
}
inline Error cancelled() {
  return fail(Code::interrupted, "the caller gave up");
}

// Who calls, from the metadata. `session_lost` says what is missing.
inline Result<core::Credentials> credentials(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto it = metadata.find(wire::kSessionKey);
  if (it == metadata.end())
    return fail(Code::session_lost,
                std::string("metadata ") + wire::kSessionKey + " is missing; attach first");
  LINKSPAN_TRY(wire::Credential who,
               wire::decode_credential({it->second.data(), it->second.size()}));
  return core::Credentials{who.session, std::move(who.secret), context.peer()};
}

// Counts one call and holds its place among the accepted ones.
class Account {
 public:
  Account(Front* front, Rpc rpc)
      : front_(front), rpc_(rpc), begun_(std::chrono::steady_clock::now()) {}
  // Streams do not hold a graceful stop up; the other calls do.
  bool admit() {
    ticket_ = front_->admission->enter();
    return static_cast<bool>(ticket_);
  }
  // A call that may wait for others without end: it does not hold a stop up, and whoever stops ends
  // its wait. Before anybody else may close() it.
  void leave() { ticket_ = Admission::Ticket(); }
  // The status to finish with; the detail goes into the trailing metadata.
  grpc::Status close(grpc::CallbackServerContext* context, const std::optional<Error>& error) {
    // Left before the answer is handed to gRPC: whoever keeps this object for longer (the core its
    // `done`) must not hold a stop up, and the stop lets answers under way reach their clients.
    ticket_ = Admission::Ticket();
    const uint32_t code = error ? static_cast<uint32_t>(error->code) : 0;
    front_->metrics->finished(rpc_, code, std::chrono::steady_clock::now() - begun_);
    if (!error) return grpc::Status::OK;
    if (error->code == Code::busy) front_->metrics->refused_busy();
    if (error->code == Code::internal || error->code == Code::io)
      log_error(std::string(to_string(rpc_)) + ": " + error->message);
    return wire::finish(*context, *error);
  }
  Front& front() const { return *front_; }
  Rpc rpc() const { return rpc_; }

 private:
  Front* const front_;
  const Rpc rpc_;
  const std::chrono::steady_clock::time_point begun_;
  Admission::Ticket ticket_;
};

// Runs `f`; what it throws becomes Code::internal. Nothing may pass this border as an exception.
template <class F>
std::optional<Error> guarded(Front& front, Rpc rpc, F&& f) {
  std::string what;
  try {
    f();
    return std::nullopt;
  } catch (const std::exception& e) {
    what = e.what();
  } catch (...) {
    what = "an unknown exception";
  }
  front.metrics->exception();
  log_error("exception in " + std::string(to_string(rpc)) + ": " + what);
  return fail(Code::internal, "the router failed inside; its log says why");
}

// One unary call from arrival to its single answer. Shared by whoever may still answer it; if all
// let go of it without an answer, that is a bug, told to the caller instead of letting him wait.
class UnaryCall {
 public:
  UnaryCall(Front* front, Rpc rpc, grpc::CallbackServerContext* context)
      : account_(front, rpc), context_(context), reactor_(context->DefaultReactor()) {}
  ~UnaryCall() { finish(fail(Code::internal, "the router lost the call; this is a bug")); }
  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;

  // Any thread; the first answer counts.
  void finish(const std::optional<Error>& error = std::nullopt) {
    if (answered_.exchange(true)) return;
    const grpc::Status status = account_.close(context_, error);
    reactor_->Finish(status);  // context_ and reactor_ may be gone after this
  }
  bool admit() { return account_.admit(); }
  void leave() { account_.leave(); }
  bool abandoned() const { return context_->IsCancelled(); }
  grpc::ServerUnaryReactor* reactor() const { return reactor_; }
  Front& front() const { return account_.front(); }
  Rpc rpc() const { return account_.rpc(); }

 private:
  Account account_;
  grpc::CallbackServerContext* const context_;
  grpc::ServerUnaryReactor* const reactor_;
  std::atomic<bool> answered_{false};
};

// Runs `task` on this thread if no other call does so, else gives it to a worker. False: the queue
// is full. A hop to a worker costs 50 to 60 us on a two-core virtual machine, as much as the rest
// of a small call, and gRPC has at least two threads: with one of them in the store the other goes
// on.
inline bool dispatch(Front& front, WorkerPool::Task task) {
  if (front.workers->waiting() == 0 && front.here->take()) {
    task();
    front.here->give_back();
    return true;
  }
  return front.workers->submit(std::move(task));
}

enum class Where : uint8_t { anywhere, worker };  // worker: what may take long

// Runs `work` by dispatch(), or answers why not.
template <class Work>
void enqueue(std::shared_ptr<UnaryCall> call, Where where, Work work) {
  auto task = [call, work = std::move(work)]() mutable {
    if (call->abandoned()) return call->finish(cancelled());
    if (auto failure = guarded(call->front(), call->rpc(), [&] { work(call); }))
      call->finish(failure);
  };
  // Kept for the refusal: the task, and the call with it, may be gone after it ran.
  Front& front = call->front();
  const bool taken = where == Where::anywhere ? dispatch(front, std::move(task))
                                              : front.workers->submit(std::move(task));
  if (!taken) call->finish(queue_full());
}

// A reactor that only says no.
template <class Reactor>
class Refusal final : public Reactor {
 public:
  Refusal(Front* front, Rpc rpc, grpc::CallbackServerContext* context, const Error& error) {
    this->Finish(Account(front, rpc).close(context, error));
  }
  void OnDone() override { delete this; }
};

}  // namespace linkspan::rpc
