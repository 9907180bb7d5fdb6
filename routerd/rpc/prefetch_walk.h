// One Prefetch: the directories below one, breadth first, page by page. A worker reads one page and
// is free again; the next one is read when the client has taken this one.
#pragma once

#include <atomic>
#include <deque>

#include "linkspan/v1/fs.grpc.pb.h"
#include "routerd/rpc/call.h"

namespace linkspan::rpc {

// Owned by one thing at a time - a worker's task or a write under way - so it needs no lock.
class PrefetchWalk final : public grpc::ServerWriteReactor<v1::PrefetchReply> {
 public:
  static grpc::ServerWriteReactor<v1::PrefetchReply>* begin(Front* front,
                                                            grpc::CallbackServerContext* context,
                                                            const v1::PrefetchRequest& in);

  void OnWriteDone(bool written) override;
  void OnDone() override { delete this; }

 private:
  PrefetchWalk(Front* front, grpc::CallbackServerContext* context, core::Credentials who,
               const wire::PrefetchRequest& request);
  void schedule();  // the next page, on a worker
  void read_page();
  void account(const ReadDirReply& page);
  void end(const std::optional<Error>& error = std::nullopt);

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
};

}  // namespace linkspan::rpc
