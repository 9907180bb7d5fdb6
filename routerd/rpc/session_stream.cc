#include "routerd/rpc/session_stream.h"

namespace linkspan::rpc {

SessionStream::Bidi* SessionStream::begin(Front* front, grpc::CallbackServerContext* context) {
  auto who = credentials(*context);
  if (!who.ok()) return new Refusal<Bidi>(front, Rpc::stream, context, who.error());
  if (front->admission->closed()) return new Refusal<Bidi>(front, Rpc::stream, context, stopping());
  const auto tenant = front->router->check(*who);
  if (!tenant.ok()) return new Refusal<Bidi>(front, Rpc::stream, context, tenant.error());
  auto share = front->streams->take(who->session, *tenant);
  if (!share.ok()) return new Refusal<Bidi>(front, Rpc::stream, context, share.error());
  auto stream = std::make_shared<SessionStream>(front, context, *std::move(who), *std::move(share));
  stream->self_ = stream;
  front->metrics->stream_opened();
  front->sweeper->add(stream);
  stream->read_next();
  return stream.get();
}

SessionStream::SessionStream(Front* front, grpc::CallbackServerContext* context,
                             core::Credentials who, Shares::Ticket share)
    : share_(std::move(share)),
      account_(front, Rpc::stream),
      context_(context),
      who_(std::move(who)),
      gate_(
          [this](const std::optional<Error>& error) { Finish(account_.close(context_, error)); }) {}

// ---- from the client
// -----------------------------------------------------------------------------

void SessionStream::read_next() {
  if (const auto pin = gate_.pin()) StartRead(&in_);
}

void SessionStream::OnReadDone(bool got) {
  if (!got) return close(std::nullopt, false);  // the client has nothing more to say
  std::optional<Error> error;
  if (auto thrown = guarded(account_.front(), account_.rpc(), [&] { error = take_frame(); }))
    error = std::move(thrown);
  if (error) close(std::move(error), false);
}

// Each branch that returns nothing reads on, or sees to it.
std::optional<Error> SessionStream::take_frame() {
  auto frame = wire::from_wire(in_);
  if (!frame.ok()) return frame.error();
  core::Router& router = *account_.front().router;
  if (const auto* hello = std::get_if<wire::Hello>(&*frame)) {
    if (greeted_) return fail(Code::invalid, "hello: a stream has only one");
    greeted_ = true;
    auto task = [self = shared_from_this(), last = hello->last_revocation] { self->open(last); };
    if (!account_.front().workers->submit(std::move(task))) return queue_full();
    return std::nullopt;
  }
  if (!greeted_) return fail(Code::invalid, "hello: must be the first frame of a stream");
  if (const auto* renew = std::get_if<wire::Renew>(&*frame))
    router.renew(who_.session, renew->answered_below, renew->nonce);
  else if (const auto* ack = std::get_if<wire::Ack>(&*frame))
    router.acknowledge(who_.session, ack->revocation);
  read_next();
  return std::nullopt;
}

void SessionStream::open(uint64_t last_revocation) {
  // While pinned the call cannot end, so stream_closed() cannot come before open_stream() returned.
  const auto pin = gate_.pin();
  if (!pin) return;
  opened_ = true;
  std::optional<Error> error;
  if (auto thrown = guarded(account_.front(), account_.rpc(), [&] {
        const auto opened =
            account_.front().router->open_stream(who_, last_revocation, shared_from_this());
        if (!opened.ok()) error = opened.error();
      }))
    error = std::move(thrown);
  if (error)
    close(std::move(error), false);
  else
    read_next();
}

// ---- to the client
// -------------------------------------------------------------------------------

template <class Frame>
void SessionStream::send(const Frame& frame) {
  auto message = std::make_unique<v1::RouterFrame>();
  wire::to_wire(frame, message.get());
  bool full = false;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return;
    full = queue_.size() >= limits::kRevocationQueue;
    if (!full) queue_.push_back(std::move(message));
  }
  if (full)
    close(fail(Code::session_lost, "the mount did not read its revocations; attach again"), true);
  else
    write_next();
}

void SessionStream::write_next() {
  const v1::RouterFrame* message = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (writing_) return;  // its OnWriteDone goes on
    if (!queue_.empty()) {
      write_pin_ = gate_.pin();
      if (!write_pin_) return;
      writing_ = std::move(queue_.front());
      queue_.pop_front();
      message = writing_.get();
    }
  }
  if (message) return StartWrite(message);
  std::optional<Error> result;
  {
    const std::lock_guard lock(mutex_);
    if (!closing_ || writing_ || !queue_.empty()) return;
    result = result_;
  }
  gate_.want(std::move(result));
}

void SessionStream::OnWriteDone(bool written) {
  FinishGate::Pin pin;  // dropped last: the call may end with it
  {
    const std::lock_guard lock(mutex_);
    pin = std::move(write_pin_);
    writing_.reset();
    if (!written) queue_.clear();
  }
  if (!written) close(cancelled(), true);
  write_next();
}

void SessionStream::close(std::optional<Error> error, bool drop) {
  {
    const std::lock_guard lock(mutex_);
    if (!closing_) {
      closing_ = true;
      result_ = std::move(error);
      closing_since_ = std::chrono::steady_clock::now();
    }
    if (drop) queue_.clear();
  }
  if (drop)
    if (const auto pin = gate_.pin_late()) context_->TryCancel();
  write_next();
}

void SessionStream::welcome(std::chrono::milliseconds lease, bool resumed) {
  send(wire::Welcome{lease, resumed});
}

void SessionStream::renewed(uint64_t nonce, std::chrono::milliseconds lease) {
  send(wire::Renewed{nonce, lease});
}

void SessionStream::revoke(const Revocation& revocation) {
  send(revocation);
}

void SessionStream::end(const Error& why) {
  // `unavailable` ends the stream, not the session: the mount comes back and resumes.
  if (why.code != Code::unavailable) send(wire::End{why});
  close(why, false);
}

// ---- the end
// -------------------------------------------------------------------------------------

void SessionStream::stop() {
  close(stopping(), false);
}

void SessionStream::sweep(std::chrono::steady_clock::time_point now) {
  const auto patience = account_.front().hello_wait;
  if (!greeted_ && now - began_ > patience)
    close(fail(Code::timed_out,
               "hello: none came within " + std::to_string(patience.count()) + " ms"),
          false);
  {
    const std::lock_guard lock(mutex_);
    if (!closing_ || now - closing_since_ < bounds::kEndDrain) return;
  }
  // The client does not take its last frames.
  close(std::nullopt, true);
}

void SessionStream::OnCancel() {
  close(cancelled(), true);
}

void SessionStream::OnDone() {
  account_.front().metrics->stream_closed();
  const auto self = std::move(self_);
  if (opened_) account_.front().router->stream_closed(who_.session, this);
}

}  // namespace linkspan::rpc
