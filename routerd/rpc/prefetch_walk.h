// One Prefetch: the directories below one, breadth first, page by page. A worker reads one page and
// is free again; the next one is read when the client has taken this one.
#pragma once

#include <atomic>
#include <deque>

#include "linkspan/v1/fs.grpc.pb.h"
#include "routerd/rpc/call.h"
#include "routerd/rpc/finish_gate.h"

namespace linkspan::rpc {

// Owned by one thing at a time - a worker's task or a write under way - so it needs no lock.
class PrefetchWalk final : public grpc::ServerWriteReactor<v1::PrefetchReply>, public Sweepable {
 public:
  static grpc::ServerWriteReactor<v1::PrefetchReply>* begin(Front* front,
                                                            grpc::CallbackServerContext* context,
                                                            const v1::PrefetchRequest& in);

  void OnWriteDone(bool written) override;
  void OnDone() override { const auto self = std::move(self_); }
  void sweep(std::chrono::steady_clock::time_point now) override;
  void stop() override {}  // each page asks

  PrefetchWalk(Front* front, grpc::CallbackServerContext* context, core::Credentials who,
               const wire::PrefetchRequest& request, Shares::Ticket share);

 private:
  void schedule();  // the next page, on a worker
  void read_page();
  void account(const ReadDirReply& page);
  void end(const std::optional<Error>& error = std::nullopt);

  const Shares::Ticket share_;
  Account account_;
  grpc::CallbackServerContext* const context_;
  const core::Credentials who_;
  uint64_t bytes_left_;
  uint32_t nodes_left_;
  std::deque<Ino> directories_;  // to be read, the first one partly; at most nodes_left_ + 1
  Cookie after_;                 // in the first one
  v1::PrefetchReply reply_;
  // Released with each write, acquired when it is done. gRPC orders these by itself, but unseen by
  // the thread sanitizer; this says it in our own words.
  std::atomic<bool> handed_over_{false};

  FinishGate gate_;
  std::atomic<int64_t> writing_since_{0};  // steady clock, ns: a page; 0: none is on its way
  std::shared_ptr<PrefetchWalk> self_;     // gRPC's reference, until OnDone
};

}  // namespace linkspan::rpc
