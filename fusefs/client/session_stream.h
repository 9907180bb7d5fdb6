// One run of the session's bidirectional stream. open() and read() are for one thread; the others
// for any. Private to this folder.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "fusefs/client/connection.h"
#include "fusefs/client/lease_clock.h"
#include "linkspan/convert.h"

namespace linkspan::client {

class SessionStream {
 public:
  SessionStream(std::shared_ptr<Connection> connection, const std::string& credential,
                const LeaseClock& clock);
  ~SessionStream();
  SessionStream(const SessionStream&) = delete;
  SessionStream& operator=(const SessionStream&) = delete;

  // Opens it and sends Hello; blocks while the transport does. A failure is what read() answers.
  void open(uint64_t last_revocation);
  // The next frame; the error with which the stream ended (after which only ~SessionStream may
  // follow).
  Result<wire::RouterFrame> read();

  // What one writer is not sending yet is sent by it when it is done: no lock is held over a Write,
  // and acknowledgements that pile up become one.
  void acknowledge(uint64_t revocation);
  void renew(OpNumber answered_below);
  void cancel() { context_.TryCancel(); }

  // When Hello (nonce 0) or the renewal with this nonce was sent; each is told once.
  std::optional<BootTime> sent(uint64_t nonce);

 private:
  void write_pending();
  bool next_frame_locked(v1::ClientFrame* out);
  Error finish();

  static constexpr size_t kUnanswered = 64;  // renewals that are remembered

  const std::shared_ptr<Connection> connection_;
  const LeaseClock& clock_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ClientFrame, v1::RouterFrame>> stream_;

  std::mutex mutex_;  // a leaf
  std::condition_variable idle_;
  bool writing_ = false;
  bool closed_ = true;  // before open(), and once it broke: nothing is written
  bool finished_ = false;
  std::optional<uint64_t> ack_;
  std::optional<wire::Renew> renew_;
  uint64_t nonce_ = 0;
  std::deque<std::pair<uint64_t, BootTime>> sent_;
};

}  // namespace linkspan::client
