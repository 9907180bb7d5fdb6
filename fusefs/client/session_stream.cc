#include "fusefs/client/session_stream.h"

#include "linkspan/convert_status.h"

namespace linkspan::client {

SessionStream::SessionStream(std::shared_ptr<Connection> connection, const std::string& credential,
                             const LeaseClock& clock)
    : connection_(std::move(connection)), clock_(clock) {
  context_.AddMetadata(wire::kSessionKey, credential);
}

void SessionStream::open(uint64_t last_revocation) {
  {
    const std::lock_guard lock(mutex_);
    sent_.emplace_back(0, clock_.now());
  }
  stream_ = connection_->session->Stream(&context_);
  v1::ClientFrame frame;
  wire::to_wire(wire::ClientFrame(wire::Hello{last_revocation}), &frame);
  stream_->Write(frame);
  const std::lock_guard lock(mutex_);
  closed_ = false;
}

SessionStream::~SessionStream() {
  if (finished_ || stream_ == nullptr) return;
  cancel();
  finish();
}

Result<wire::RouterFrame> SessionStream::read() {
  v1::RouterFrame frame;
  if (!stream_->Read(&frame)) return finish();
  auto converted = wire::from_wire(std::move(frame));
  if (converted.ok()) return converted;
  cancel();
  finish();
  return fail(Code::internal,
              "the router sent a frame that breaks the protocol: " + converted.error().message);
}

// Finish must not run beside a Write. The broken stream ends the one that is under way; should it
// not, cancelling does.
Error SessionStream::finish() {
  constexpr std::chrono::seconds kWriteEnds{1};
  {
    std::unique_lock lock(mutex_);
    closed_ = true;
    const auto idle = [this] { return !writing_; };
    if (!idle_.wait_for(lock, kWriteEnds, idle)) {
      cancel();
      idle_.wait(lock, idle);
    }
  }
  const grpc::Status status = stream_->Finish();
  finished_ = true;
  if (status.ok()) return fail(Code::unavailable, "the router closed the stream");
  return wire::error_of(context_, status);
}

void SessionStream::acknowledge(uint64_t revocation) {
  {
    const std::lock_guard lock(mutex_);
    ack_ = revocation;
  }
  write_pending();
}

void SessionStream::renew(OpNumber answered_below) {
  {
    const std::lock_guard lock(mutex_);
    renew_ = wire::Renew{answered_below, 0};
  }
  write_pending();
}

bool SessionStream::next_frame_locked(v1::ClientFrame* out) {
  if (ack_) {  // first: another mount's writer waits for it
    wire::to_wire(wire::ClientFrame(wire::Ack{*ack_}), out);
    ack_.reset();
    return true;
  }
  if (!renew_) return false;
  renew_->nonce = ++nonce_;
  wire::to_wire(wire::ClientFrame(*renew_), out);
  renew_.reset();
  sent_.emplace_back(nonce_, clock_.now());
  if (sent_.size() > kUnanswered) sent_.pop_front();
  return true;
}

void SessionStream::write_pending() {
  std::unique_lock lock(mutex_);
  if (writing_ || closed_) return;
  writing_ = true;
  v1::ClientFrame frame;
  while (!closed_ && next_frame_locked(&frame)) {
    lock.unlock();
    const bool written = stream_->Write(frame);
    frame.Clear();
    lock.lock();
    if (!written) closed_ = true;
  }
  writing_ = false;
  idle_.notify_all();
}

std::optional<BootTime> SessionStream::sent(uint64_t nonce) {
  const std::lock_guard lock(mutex_);
  while (!sent_.empty() && sent_.front().first < nonce) sent_.pop_front();
  if (sent_.empty() || sent_.front().first != nonce) return std::nullopt;
  const BootTime when = sent_.front().second;
  sent_.pop_front();
  return when;
}

}  // namespace linkspan::client
