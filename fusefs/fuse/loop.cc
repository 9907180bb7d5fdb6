#include "fusefs/fuse/loop.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "fusefs/fuse/connection_io.h"
#include "fusefs/fuse/current_operation.h"
#include "fusefs/fuse/log.h"
#include "fusefs/fuse/lowlevel.h"
#include "fusefs/fuse/message_check.h"
#include "fusefs/fuse/own_calls.h"
#include "fusefs/fuse/statx.h"

namespace linkspan::fuse {
namespace {

constexpr std::chrono::milliseconds kWakeAgain{2};  // a signal just before read(2) is lost: repeat
constexpr int kShortReads = 100;                    // in a row, then the device is broken

thread_local uint32_t current_opcode = 0;

// Interrupts a blocked read of the session's descriptor.
int wake_signal() {
  return SIGRTMIN + 5;
}

void install_wake_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_handler = [](int) {};  // and no SA_RESTART: the read returns EINTR
    sigaction(wake_signal(), &action, nullptr);
  });
}

// Threads of the loop take no signal of the process, only the one that wakes them.
class WorkerSignalMask {
 public:
  WorkerSignalMask() {
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, wake_signal());
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &old_);
  }
  ~WorkerSignalMask() { pthread_sigmask(SIG_SETMASK, &old_, nullptr); }

 private:
  sigset_t old_;
};

// libfuse allocates `mem` with malloc(3) at the first receive.
struct ReceiveBuffer {
  fuse_buf buffer = {};
  ReceiveBuffer() = default;
  ~ReceiveBuffer() { std::free(buffer.mem); }
  ReceiveBuffer(const ReceiveBuffer&) = delete;
  ReceiveBuffer& operator=(const ReceiveBuffer&) = delete;
};

bool is_urgent(const fuse_buf& buffer) {
  if (buffer.flags & FUSE_BUF_IS_FD) return false;
  uint32_t opcode = static_cast<const fuse_in_header*>(buffer.mem)->opcode;
  return opcode == FUSE_INTERRUPT || opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET;
}

}  // namespace

uint32_t current_operation() {
  return current_opcode;
}

CurrentOperation::CurrentOperation(uint32_t opcode) {
  current_opcode = opcode;
}

CurrentOperation::~CurrentOperation() {
  current_opcode = 0;
}

Loop::Loop(fuse_session* session, LoopOptions options) : session_(session), options_(options) {}

Loop::~Loop() {
  stop();
}

Status Loop::start() {
  install_wake_handler();
  std::lock_guard lock(mutex_);
  if (!spawn()) return fail(Code::io, "cannot start a thread for the FUSE loop: check ulimit -u");
  return ok();
}

bool Loop::spawn() {
  WorkerSignalMask mask;
  auto self = threads_.emplace(threads_.end());
  try {
    *self = std::thread([this, self] { work(self); });
  } catch (const std::system_error& e) {
    threads_.erase(self);
    log(LogLevel::warning, std::string("cannot start another FUSE thread: ") + e.what());
    return false;
  }
  ++idle_;
  return true;
}

void Loop::work(std::list<std::thread>::iterator self) {
  ReceiveBuffer receive_buffer;
  fuse_buf& buffer = receive_buffer.buffer;
  while (receive(&buffer)) {
    if (answer_own(buffer)) continue;
    bool urgent = is_urgent(buffer);
    if (admit(buffer, urgent) == Next::keep_reading) continue;
    process(buffer);
    if (!finish(self, urgent)) return;
  }
  std::unique_lock lock(mutex_);
  bool first = !std::exchange(ended_, true);
  lock.unlock();
  if (first) changed_.notify_all();
  if (first && options_.on_ended) options_.on_ended();
  lock.lock();
  finished_.splice(finished_.end(), threads_, self);
  changed_.notify_all();
}

// False: the connection has ended or stop() was called.
bool Loop::receive(fuse_buf* buffer) {
  int short_reads = 0;
  while (!fuse_session_exited(session_)) {
    int result = fuse_session_receive_buf(session_, buffer);
    if (result > 0) return true;
    if (result == -EINTR || result == -EAGAIN) continue;
    if (result == -EIO && ++short_reads <= kShortReads) continue;  // not even a header: no number
    if (result < 0 && !fuse_session_exited(session_))
      log(LogLevel::error, std::string("reading from the kernel: ") + std::strerror(-result));
    break;
  }
  fuse_session_exit(session_);
  return false;
}

Loop::Next Loop::admit(const fuse_buf& buffer, bool urgent) {
  if (urgent) return Next::process;  // short: this thread still counts as reading
  std::lock_guard lock(mutex_);
  if (--idle_ > 0) return Next::process;
  if (threads_.size() < options_.max_threads && spawn()) return Next::process;
  bool room = backlog_.size() < options_.backlog_requests &&
              backlog_bytes_ + buffer.size <= options_.backlog_bytes;
  // No room: work it off here, at the price that no INTERRUPT is read until some request ends.
  if (!room || (buffer.flags & FUSE_BUF_IS_FD)) return Next::process;
  const char* data = static_cast<const char*>(buffer.mem);
  backlog_.emplace_back(data, data + buffer.size);
  backlog_bytes_ += buffer.size;
  ++idle_;
  return Next::keep_reading;
}

// On the thread that reads, and never waiting: a request of ours must not queue behind those that
// wait for the router, since a revocation may wait for the directory's lock that it holds.
bool Loop::answer_own(const fuse_buf& buffer) {
  if (!options_.own || (buffer.flags & FUSE_BUF_IS_FD)) return false;
  const auto& header = *static_cast<const fuse_in_header*>(buffer.mem);
  if (!options_.own->takes(header, buffer.size) || !well_formed(buffer.mem, buffer.size))
    return false;
  options_.own->answer(session_, buffer.mem);
  return true;
}

void Loop::process(const fuse_buf& buffer) {
  if (buffer.flags & FUSE_BUF_IS_FD) {
    fuse_session_process_buf(session_, &buffer);
    return;
  }
  const auto& header = *static_cast<const fuse_in_header*>(buffer.mem);
  if (!well_formed(buffer.mem, buffer.size))
    refuse(header);
  else
    answer(buffer);
}

void Loop::answer(const fuse_buf& buffer) {
  auto& header = *static_cast<fuse_in_header*>(buffer.mem);
  CurrentOperation current(header.opcode);
  // libfuse refuses what it does not know; GETATTR's callback answers this too.
  if (header.opcode == kOpStatx && options_.statx) header.opcode = FUSE_GETATTR;
  fuse_session_process_buf(session_, &buffer);
}

void Loop::refuse(const fuse_in_header& request) {
  log(LogLevel::error, "malformed request of the kernel: operation " +
                           std::to_string(request.opcode) + ", " + std::to_string(request.len) +
                           " bytes");
  fuse_out_header reply = {};
  reply.len = sizeof reply;
  reply.error = -EINVAL;
  reply.unique = request.unique;
  iovec iov{&reply, sizeof reply};
  (void)write_to_kernel(session_, &iov, 1);  // a connection that is gone: the next read says so
}

bool Loop::finish(std::list<std::thread>::iterator self, bool urgent) {
  if (urgent) return true;
  std::unique_lock lock(mutex_);
  while (!backlog_.empty()) {
    Bytes bytes = std::move(backlog_.front());
    backlog_.pop_front();
    backlog_bytes_ -= bytes.size();
    lock.unlock();
    fuse_buf buffer = {};
    buffer.mem = bytes.data();
    buffer.size = bytes.size();
    process(buffer);
    lock.lock();
  }
  if (idle_ < options_.idle_threads || ended_) {
    ++idle_;
    return true;
  }
  std::list<std::thread> previous;
  previous.swap(finished_);
  finished_.splice(finished_.end(), threads_, self);
  changed_.notify_all();
  lock.unlock();
  for (auto& thread : previous) thread.join();  // they have left the loop: nothing to wait for
  return false;
}

void Loop::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ended_; });
}

bool Loop::ended() const {
  std::lock_guard lock(mutex_);
  return ended_;
}

void Loop::stop() {
  std::unique_lock lock(mutex_);
  if (!threads_.empty()) fuse_session_exit(session_);  // the session may be gone after a stop()
  while (!threads_.empty()) {
    for (auto& thread : threads_) pthread_kill(thread.native_handle(), wake_signal());
    changed_.wait_for(lock, kWakeAgain, [this] { return threads_.empty(); });
  }
  ended_ = true;
  std::list<std::thread> finished = std::move(finished_);
  finished_.clear();
  lock.unlock();
  changed_.notify_all();
  for (auto& thread : finished) thread.join();
}

size_t Loop::threads() const {
  std::lock_guard lock(mutex_);
  return threads_.size();
}

size_t Loop::backlog() const {
  std::lock_guard lock(mutex_);
  return backlog_.size();
}

}  // namespace linkspan::fuse
