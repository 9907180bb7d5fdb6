// The session of a mount with its router: attaching, the stream of renewals and revocations,
// reconnecting, and the lease. Private to this folder.
//
// Threads: `run` (the stream thread) connects, reads the stream and calls the listener; `renew`
// sends the renewals; the LeaseWatch cancels what is under way when the lease, or the time for an
// attempt, is over. Renewals come from a thread of their own because a Write may block behind a
// stalled connection; they pause while on_revoke() hangs, so that the lease ends instead of
// another mount's writer waiting for ever.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fusefs/client/addresses.h"
#include "fusefs/client/backoff.h"
#include "fusefs/client/connection.h"
#include "fusefs/client/gate.h"
#include "fusefs/client/grpc_client.h"
#include "fusefs/client/lease_clock.h"
#include "fusefs/client/lock_book.h"
#include "fusefs/client/op_tracker.h"
#include "fusefs/client/session_stream.h"
#include "fusefs/client/transport.h"

namespace linkspan::client {

class Session {
 public:
  struct Counters {
    std::atomic<uint64_t> reconnects{0}, sessions{0}, revocations{0}, caches_lost{0}, locks_lost{0};
  };

  Session(const GrpcClientOptions& options, Gate& gate, OpTracker& operations, LockBook& locks);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Once. Returns when the stream is up, or why it never will be.
  Result<SessionInfo> attach(const Call& call, SessionListener* listener);
  // Ends every call, then tells the router. Idempotent; not from the listener.
  void detach();
  // A call on this link was told that the session is not known any more.
  void suspect(uint64_t link);

  // See RouterClient.
  void start_over();

  bool lease_valid() const { return lease_.valid(); }
  std::chrono::nanoseconds lease_left() const { return lease_.left(); }
  const Counters& counters() const { return counters_; }

 private:
  using Steady = std::chrono::steady_clock::time_point;

  // -- the stream thread --
  void run();
  Status reconnect();  // an error is final
  template <class Send>
  Result<grpc::Status> attaching(grpc::ClientContext* context, const Send& send);
  Result<wire::Attached> try_attach();
  Result<wire::Attached> attach_once(const std::shared_ptr<Connection>& connection);
  bool gives_up(const Error& error) const;
  Status adopt(wire::Attached attached);
  Status check_routes(const std::vector<Route>& routes) const;
  Error serve();
  Status handle(const wire::RouterFrame& frame, SessionStream& stream);
  Status on_welcome(const wire::Welcome& welcome, SessionStream& stream);
  Status on_renewed(const wire::Renewed& renewed, SessionStream& stream);
  Status on_revocation(const Revocation& revocation, SessionStream& stream);
  Status reclaim_locks(const Live& live);
  void locks_lost(const std::vector<Lock>& locks);
  void caches_lost();
  void drop_if_lapsed();
  void broken(const Error& why);
  void give_up(const Error& why);
  void wait_backoff();
  // Takes note of it; what people are told while no router serves us.
  std::string said(const Error& error, bool answered);
  Error nobody_serves(Steady begun) const;  // once the stream thread has ended

  // -- any thread --
  void renew_loop();
  void on_watch();
  void give_link_up();
  void poke();
  Steady went(bool given_up) const;
  void watch(BootTime when);
  void grant(BootTime sent, std::chrono::milliseconds lease);
  bool revocation_hangs() const;
  void stop();
  bool stopping() const;

  const GrpcClientOptions options_;
  Gate& gate_;
  OpTracker& operations_;
  LockBook& locks_;
  SessionListener* listener_ = nullptr;
  LeaseClock lease_;
  Counters counters_;

  // Of the stream thread.
  SessionInfo info_;  // written before the gate first opens, then constant
  std::shared_ptr<Connection> connection_;
  wire::Credential credential_;  // session 0: none to resume
  uint64_t generation_ = 0;
  uint64_t links_ = 0;
  uint64_t last_revocation_ = 0;
  bool gap_allowed_ = true;   // the next revocation's number may be any
  bool reclaim_due_ = false;  // the router does not know what is held, or waits to hear it
  bool cached_ = false;       // a lease was granted since on_caches_lost
  Backoff backoff_;
  bool first_try_ = true;
  Addresses addresses_;
  Transport transport_;
  bool attach_answered_ = false;  // the last Attach was, if only by a refusal
  std::string router_;            // what the one calls itself to which we are attached

  std::atomic<bool> watch_fired_{false};
  std::atomic<int64_t> heard_{0};  // boot time at which the last renewal was sent that was answered
  std::atomic<int64_t> silent_since_{0};     // of the link that the watch gave up; 0: not known
  std::atomic<bool> start_over_{false};      // until the stream thread begins the new session
  std::atomic<int64_t> watched_{INT64_MAX};  // boot time that the watch is armed for
  std::atomic<int64_t> revoke_since_{0};     // boot time at which on_revoke began; 0: not in it
  std::atomic<int64_t> lease_length_{0};     // ns, as granted last

  mutable std::mutex mutex_;  // a leaf: no other lock is taken under it
  std::condition_variable changed_;
  bool stopping_ = false;
  bool poked_ = false;  // ends a backoff wait: the lease lapsed
  Steady renew_at_ = Steady::max();
  std::shared_ptr<SessionStream> stream_;     // under way
  grpc::ClientContext* attaching_ = nullptr;  // under way

  std::once_flag detached_;
  std::unique_ptr<LeaseWatch> lease_watch_;
  std::thread run_thread_;
  std::thread renew_thread_;
};

}  // namespace linkspan::client
