// One session's stream: the core's StreamSink over a bidirectional call. What the core sends waits
// in a bounded queue; the core is never held up. Renewals and acknowledgements go to the core from
// the reaction, since neither blocks (core/router.h).
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>

#include "linkspan/v1/session.grpc.pb.h"
#include "routerd/rpc/call.h"
#include "routerd/rpc/finish_gate.h"

namespace linkspan::rpc {

class SessionStream final : public grpc::ServerBidiReactor<v1::ClientFrame, v1::RouterFrame>,
                            public core::StreamSink,
                            public Sweepable,
                            public std::enable_shared_from_this<SessionStream> {
 public:
  using Bidi = grpc::ServerBidiReactor<v1::ClientFrame, v1::RouterFrame>;
  static Bidi* begin(Front* front, grpc::CallbackServerContext* context);

  SessionStream(Front* front, grpc::CallbackServerContext* context, core::Credentials who,
                Shares::Ticket share);

  // gRPC's reactions
  void OnReadDone(bool got) override;
  void OnWriteDone(bool written) override;
  void OnCancel() override;
  void OnDone() override;

  // core::StreamSink: any thread
  void welcome(std::chrono::milliseconds lease, bool resumed) override;
  void renewed(uint64_t nonce, std::chrono::milliseconds lease) override;
  void revoke(const Revocation& revocation) override;
  void end(const Error& why) override;

  // Sweepable
  void sweep(std::chrono::steady_clock::time_point now) override;
  void stop() override;

 private:
  void read_next();
  std::optional<Error> take_frame();
  void open(uint64_t last_revocation);  // on a worker: the core may have to ask the store
  template <class Frame>
  void send(const Frame& frame);
  void write_next();
  // Ends the call with `error` once what is queued was sent; at once if `drop`.
  void close(std::optional<Error> error, bool drop);

  const Shares::Ticket share_;
  Account account_;
  grpc::CallbackServerContext* const context_;
  const core::Credentials who_;
  FinishGate gate_;

  v1::ClientFrame in_;  // the reaction's
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::atomic<bool> greeted_{false};  // written by the reaction
  std::atomic<bool> opened_{false};   // the core may know this sink

  std::mutex mutex_;  // before gate_'s; neither the core nor gRPC is called while it is held
  std::deque<std::unique_ptr<v1::RouterFrame>> queue_;  // <= limits::kRevocationQueue
  std::unique_ptr<v1::RouterFrame> writing_;            // under way; null: none
  FinishGate::Pin write_pin_;                           // while writing_
  bool closing_ = false;                                // nothing is queued any more
  std::optional<Error> result_;                         // closing: of the call
  std::chrono::steady_clock::time_point closing_since_;

  std::shared_ptr<SessionStream> self_;  // gRPC's reference, until OnDone
};

}  // namespace linkspan::rpc
