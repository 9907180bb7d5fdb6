#include "routerd/rpc/commit_upload.h"

namespace linkspan::rpc {

grpc::ServerReadReactor<v1::CommitPart>* CommitUpload::begin(Front* front,
                                                             grpc::CallbackServerContext* context,
                                                             v1::MutationReply* out) {
  using Refused = Refusal<grpc::ServerReadReactor<v1::CommitPart>>;
  auto who = credentials(*context);
  if (!who.ok()) return new Refused(front, Rpc::commit, context, who.error());
  // Whoever is not attached holds no slot and fills no spool.
  const auto tenant = front->router->check(*who);
  if (!tenant.ok()) return new Refused(front, Rpc::commit, context, tenant.error());
  if (front->metrics->uploads() >= bounds::kUploads)
    return new Refused(front, Rpc::commit, context,
                       fail(Code::busy, "too many uploads are under way; try again"));
  auto share = front->uploads->take(who->session, *tenant);
  if (!share.ok()) return new Refused(front, Rpc::commit, context, share.error());
  auto upload = std::make_shared<CommitUpload>(front, context, out, *std::move(who), *tenant,
                                               *std::move(share));
  if (!upload->account_.admit()) return new Refused(front, Rpc::commit, context, stopping());
  upload->self_ = upload;
  front->metrics->upload_opened();
  front->sweeper->add(upload);
  upload->read_next();
  return upload.get();
}

CommitUpload::CommitUpload(Front* front, grpc::CallbackServerContext* context,
                           v1::MutationReply* out, core::Credentials who, TenantId tenant,
                           Shares::Ticket share)
    : share_(std::move(share)),
      account_(front, Rpc::commit),
      context_(context),
      out_(out),
      who_(std::move(who)),
      gate_([this](const std::optional<Error>& error) { Finish(account_.close(context_, error)); }),
      spool_(std::make_shared<Spool>(front->budget, front->spool, tenant)) {}

void CommitUpload::OnDone() {
  account_.front().metrics->upload_closed();
  const auto self = std::move(self_);  // the last use of this, unless the core holds it still
}

void CommitUpload::OnCancel() {
  gate_.want(cancelled());
}

void CommitUpload::stop() {
  gate_.want(stopping());
}

void CommitUpload::sweep(std::chrono::steady_clock::time_point now) {
  const int64_t since = waits_since_.load();
  if (since == 0) return;
  const auto waited = now.time_since_epoch() - std::chrono::nanoseconds(since);
  if (waited > account_.front().upload_stall)
    gate_.want(fail(Code::timed_out, "the upload stalled: no part came for " +
                                         std::to_string(account_.front().upload_stall.count()) +
                                         " ms"));
}

void CommitUpload::read_next() {
  const auto pin = gate_.pin();
  if (!pin) return;
  waits_since_ = std::chrono::steady_clock::now().time_since_epoch().count();
  StartRead(&part_);
}

void CommitUpload::OnReadDone(bool got) {
  waits_since_ = 0;
  if (gate_.wanted()) return;
  if (!got) return complete();
  std::optional<Error> error;
  if (auto thrown = guarded(account_.front(), account_.rpc(), [&] {
        if (auto taken = take_part(); !taken.ok()) error = taken.error();
      }))
    error = std::move(thrown);
  if (error) {
    gate_.want(std::move(error));
    return;
  }
  keep_part();
}

Status CommitUpload::take_part() {
  if (part_.has_head() == has_head_)
    return fail(Code::invalid, has_head_ ? "head: only the first part of a commit has one"
                                         : "head: missing in the first part of a commit");
  if (!has_head_) {
    LINKSPAN_TRY(request_, wire::from_wire(part_.head()));
    has_head_ = true;
  }
  pending_.clear();
  pending_at_ = 0;
  return reader_.take(std::move(part_), &pending_);
}

void CommitUpload::keep_part() {
  while (pending_at_ < pending_.size() && spool_->keep(&pending_[pending_at_])) ++pending_at_;
  if (pending_at_ == pending_.size()) return read_next();
  auto task = [self = shared_from_this()] { self->spool_part(); };
  if (!account_.front().spoolers->submit(std::move(task))) gate_.want(queue_full());
}

void CommitUpload::spool_part() {
  std::optional<Error> error;
  if (auto thrown = guarded(account_.front(), account_.rpc(), [&] {
        for (; !error && pending_at_ < pending_.size(); ++pending_at_)
          if (auto written = spool_->write(pending_[pending_at_]); !written.ok())
            error = written.error();
      }))
    error = std::move(thrown);
  if (error)
    gate_.want(std::move(error));
  else
    read_next();
}

void CommitUpload::complete() {
  if (context_->IsCancelled()) {
    gate_.want(cancelled());
    return;
  }
  if (!has_head_) {
    gate_.want(fail(Code::invalid, "head: missing; the commit has no parts"));
    return;
  }
  auto task = [self = shared_from_this()] { self->commit(); };
  // A large one takes its time with the store: not here.
  const bool taken = spool_->on_disk() ? account_.front().workers->submit(std::move(task))
                                       : dispatch(account_.front(), std::move(task));
  if (!taken) gate_.want(queue_full());
}

// The core's answer; if the core lets go of it without one, the caller is told.
namespace {
class Answer {
 public:
  explicit Answer(std::function<void(Result<MutationReply>)> give) : give_(std::move(give)) {}
  ~Answer() {
    if (!given_.exchange(true))
      give_(fail(Code::internal, "the router lost the call; this is a bug"));
  }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  void operator()(Result<MutationReply> reply) {
    if (!given_.exchange(true)) give_(std::move(reply));
  }

 private:
  std::function<void(Result<MutationReply>)> give_;
  std::atomic<bool> given_{false};
};
}  // namespace

void CommitUpload::commit() {
  if (gate_.wanted()) return;  // cancelled while it waited for this worker
  spool_->rewind();
  request_.extents = std::move(spool_);
  auto answer = std::make_shared<Answer>([self = shared_from_this()](Result<MutationReply> reply) {
    const auto pin = self->gate_.pin();  // out_ lives until the call is finished
    if (!pin) return;
    if (!reply.ok()) {
      self->gate_.want(reply.error());
      return;
    }
    wire::to_wire(*std::move(reply), self->out_);
    self->gate_.want(std::nullopt);
  });
  if (auto thrown = guarded(account_.front(), account_.rpc(), [&] {
        account_.front().router->commit(
            who_, std::move(request_),
            [answer](Result<MutationReply> reply) { (*answer)(std::move(reply)); });
      }))
    (*answer)(*thrown);
}

}  // namespace linkspan::rpc
