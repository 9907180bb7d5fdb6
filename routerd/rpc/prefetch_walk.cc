#include "routerd/rpc/prefetch_walk.h"

#include <algorithm>

namespace linkspan::rpc {

grpc::ServerWriteReactor<v1::PrefetchReply>* PrefetchWalk::begin(
    Front* front, grpc::CallbackServerContext* context, const v1::PrefetchRequest& in) {
  using Refused = Refusal<grpc::ServerWriteReactor<v1::PrefetchReply>>;
  if (front->admission->closed()) return new Refused(front, Rpc::prefetch, context, stopping());
  auto who = credentials(*context);
  if (!who.ok()) return new Refused(front, Rpc::prefetch, context, who.error());
  auto request = wire::from_wire(in);
  if (!request.ok()) return new Refused(front, Rpc::prefetch, context, request.error());
  const auto tenant = front->router->check(*who);
  if (!tenant.ok()) return new Refused(front, Rpc::prefetch, context, tenant.error());
  auto share = front->walks->take(who->session, *tenant);
  if (!share.ok()) return new Refused(front, Rpc::prefetch, context, share.error());
  auto walk =
      std::make_shared<PrefetchWalk>(front, context, *std::move(who), *request, *std::move(share));
  walk->self_ = walk;
  front->sweeper->add(walk);
  walk->schedule();
  return walk.get();
}

PrefetchWalk::PrefetchWalk(Front* front, grpc::CallbackServerContext* context,
                           core::Credentials who, const wire::PrefetchRequest& request,
                           Shares::Ticket share)
    : share_(std::move(share)),
      account_(front, Rpc::prefetch),
      context_(context),
      who_(std::move(who)),
      bytes_left_(std::min(request.max_bytes, bounds::kPrefetchBytes)),
      nodes_left_(std::min(request.max_nodes, bounds::kPrefetchNodes)),
      directories_{request.dir},
      gate_(
          [this](const std::optional<Error>& error) { Finish(account_.close(context_, error)); }) {}

void PrefetchWalk::end(const std::optional<Error>& error) {
  gate_.want(error);  // this may be gone after it
}

void PrefetchWalk::schedule() {
  if (directories_.empty() || bytes_left_ == 0 || nodes_left_ == 0) return end();
  if (!account_.front().workers->submit([this] { read_page(); })) end(queue_full());
}

void PrefetchWalk::read_page() {
  if (context_->IsCancelled()) return end(cancelled());
  if (account_.front().admission->closed()) return end(stopping());
  std::optional<Error> error;
  if (auto thrown = guarded(account_.front(), account_.rpc(), [&] {
        const Ino dir = directories_.front();
        auto page = account_.front().router->readdir(
            who_, {dir, after_, std::min(nodes_left_, limits::kPageEntries), true});
        if (!page.ok()) {
          error = page.error();
          return;
        }
        account(*page);
        reply_.Clear();
        wire::to_wire(wire::PrefetchPage{dir, *std::move(page)}, &reply_);
      }))
    error = std::move(thrown);
  if (!error) {
    writing_since_ = std::chrono::steady_clock::now().time_since_epoch().count();
    handed_over_.store(true, std::memory_order_release);
    return StartWrite(&reply_);
  }
  // A directory that went away meanwhile is no reason to stop; the first one is what was asked for.
  if (error->code == Code::stale_node && reply_.dir() != 0) {
    directories_.pop_front();
    after_ = Cookie();
    return schedule();
  }
  end(error);
}

// A client that takes no page is dropped.
void PrefetchWalk::sweep(std::chrono::steady_clock::time_point now) {
  const int64_t since = writing_since_.load();
  if (since == 0) return;
  if (now.time_since_epoch() - std::chrono::nanoseconds(since) <= account_.front().walk_stall)
    return;
  if (const auto pin = gate_.pin()) context_->TryCancel();
}

void PrefetchWalk::account(const ReadDirReply& page) {
  for (const DirEntry& entry : page.entries) {
    after_ = entry.cookie;
    nodes_left_ -= std::min<uint32_t>(nodes_left_, 1);
    const uint64_t bytes =
        entry.name.size() + (entry.node.content ? entry.node.content->size() : 0);
    bytes_left_ -= std::min(bytes_left_, bytes);
    const bool enter =
        entry.node.attr.kind == Kind::directory && entry.node.attr.access >= Access::read_only;
    if (enter && directories_.size() <= nodes_left_) directories_.push_back(entry.node.attr.ino);
  }
  if (!page.end && !page.entries.empty()) return;
  directories_.pop_front();
  after_ = Cookie();
}

void PrefetchWalk::OnWriteDone(bool written) {
  (void)handed_over_.load(std::memory_order_acquire);
  writing_since_ = 0;
  if (!written) return end(cancelled());
  schedule();
}

}  // namespace linkspan::rpc
