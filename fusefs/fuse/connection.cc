#include "fusefs/fuse/connection.h"

#include <linux/fuse.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fusefs/fuse/connection_io.h"
#include "fusefs/fuse/log.h"
#include "fusefs/fuse/loop.h"
#include "fusefs/fuse/lowlevel.h"
#include "fusefs/fuse/notifier.h"

namespace linkspan::fuse {
namespace {

constexpr unsigned kMaxWrite = 1 << 20;  // bytes of one WRITE
constexpr unsigned kMaxBackground = 64;  // readahead and the like in flight
constexpr unsigned kCongestion = 48;

struct SessionDeleter {
  void operator()(fuse_session* session) const { fuse_session_destroy(session); }
};
using Session = std::unique_ptr<fuse_session, SessionDeleter>;

void want(fuse_conn_info* info, unsigned capability) {
  info->want |= info->capable & capability;
}

// The choices that hold for every connection; Operations::configure() adds its own.
void negotiate(fuse_conn_info* info) {
  want(info, FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_PARALLEL_DIROPS |
                 FUSE_CAP_ASYNC_DIO);
  // The kernel clears set-id bits itself then, with a SETATTR. No POSIX ACLs are kept. Locks: the
  // kernel's own, which hold within the mount, unless configure() says otherwise.
  info->want &= ~(FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_POSIX_ACL | FUSE_CAP_WRITEBACK_CACHE |
                  FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_IOCTL_DIR);
  // A request is small beside the splice calls it would cost; WRITE's data is wanted in memory.
  info->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  info->max_write = kMaxWrite;
  info->max_background = kMaxBackground;
  info->congestion_threshold = kCongestion;
  info->time_gran = 1;
}

}  // namespace

class Connection::State {
 public:
  State(ConnectionOptions options, Operations* operations, Notifier* notifier)
      : options_(std::move(options)), notifier_(notifier) {
    context_.name = options_.mount.mountpoint;
    context_.operations = operations;
  }
  ~State() { (void)close().ok(); }

  Status open();
  Status close();
  void wait() {
    if (loop_) loop_->wait();
  }
  bool ended() const { return !loop_ || loop_->ended(); }
  bool in_place() const { return !mounted_ || is_mounted(context_.name, device_); }

  const ConnectionOptions options_;
  Notifier* const notifier_;
  SessionContext context_;
  bool by_fusermount_ = false;
  bool allow_other_ = false;

 private:
  static void init(void* userdata, fuse_conn_info* info);
  Status make_session();
  Result<Fd> descriptor();
  Status wait_for_init();

  Session session_;
  std::unique_ptr<Loop> loop_;  // after session_: goes first
  std::atomic<bool> mounted_ = false;
  dev_t device_ = 0;    // st_dev of the mount; 0: not known yet
  std::mutex closing_;  // one close() at a time; outermost
};

void Connection::State::init(void* userdata, fuse_conn_info* info) {
  auto* context = static_cast<SessionContext*>(userdata);
  negotiate(info);
  info->max_read = kMaxWrite;  // must equal the session's max_read option
  context->operations->configure(info);
  if (info->want & FUSE_CAP_PARALLEL_DIROPS) context->init_flags = FUSE_PARALLEL_DIROPS;
  {
    std::lock_guard lock(context->mutex);
    context->initialised = true;
  }
  context->changed.notify_all();
}

Status Connection::State::make_session() {
  capture_libfuse_log();
  fuse_lowlevel_ops table = context_.operations->table();
  table.init = &State::init;
  std::string max_read = "-omax_read=" + std::to_string(kMaxWrite);
  char name[] = "linkspan";
  char* argv[] = {name, max_read.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(2, argv);
  session_.reset(fuse_session_new(&args, &table, sizeof table, &context_));
  fuse_opt_free_args(&args);
  if (!session_) return fail(Code::internal, "libfuse refused to make a session");
  return ok();
}

Result<Fd> Connection::State::descriptor() {
  if (options_.socket >= 0) return Fd(options_.socket);
  MountOptions mount = options_.mount;
  mount.max_read = kMaxWrite;
  LINKSPAN_TRY(Mounted mounted, mount_fuse(mount));
  mounted_ = true;
  by_fusermount_ = mounted.by_fusermount;
  allow_other_ = mounted.allow_other;
  return std::move(mounted.fd);
}

Status Connection::State::wait_for_init() {
  std::unique_lock lock(context_.mutex);
  if (context_.changed.wait_for(lock, options_.init_timeout,
                                [this] { return context_.initialised; }))
    return ok();
  return fail(Code::timed_out, "the kernel did not open the connection for " + context_.name +
                                   " within " + std::to_string(options_.init_timeout.count()) +
                                   " ms");
}

Status Connection::State::open() {
  LINKSPAN_CHECK(make_session());
  LINKSPAN_TRY(Fd kernel, descriptor());
  if (int error = attach_descriptor(session_.get(), kernel.get()); error != 0)
    return fail(Code::internal,
                std::string("libfuse refused the descriptor: ") + std::strerror(-error));
  kernel.release();
  // Before the loop: no name must reach the kernel while it is unknown whether it can be dropped.
  if (notifier_) notifier_->attach(session_.get());
  loop_ = std::make_unique<Loop>(session_.get(),
                                 LoopOptions{.max_threads = options_.max_threads,
                                             .idle_threads = options_.idle_threads,
                                             .statx = context_.operations->answers_statx(),
                                             .own = context_.operations->own_calls(),
                                             .on_ended = options_.on_ended});
  LINKSPAN_CHECK(loop_->start());
  LINKSPAN_CHECK(wait_for_init());
  if (mounted_) device_ = mounted_device(context_.name);
  return ok();
}

Status Connection::State::close() {
  std::lock_guard lock(closing_);
  Status result = ok();
  // Not whatever else is mounted there by now, if somebody unmounted ours.
  if (mounted_.exchange(false) && is_mounted(context_.name, device_))
    result = unmount_fuse(context_.name);
  if (notifier_) notifier_->detach();
  if (loop_) loop_->stop();
  context_.deferred.cancel_and_wait();
  // The loop is kept: somebody may be in wait()
  session_.reset();
  return result;
}

Connection::Connection(std::unique_ptr<State> state) : state_(std::move(state)) {}
Connection::~Connection() = default;

Result<std::unique_ptr<Connection>> Connection::open(const ConnectionOptions& options,
                                                     Operations* operations, Notifier* notifier) {
  auto state = std::make_unique<State>(options, operations, notifier);
  LINKSPAN_CHECK(state->open());
  return std::unique_ptr<Connection>(new Connection(std::move(state)));
}

const std::string& Connection::mountpoint() const {
  return state_->context_.name;
}
bool Connection::by_fusermount() const {
  return state_->by_fusermount_;
}
bool Connection::allow_other() const {
  return state_->allow_other_;
}
const Counters& Connection::counters() const {
  return state_->context_.counters;
}
void Connection::wait() {
  state_->wait();
}
bool Connection::ended() const {
  return state_->ended();
}
bool Connection::in_place() const {
  return state_->in_place();
}
Status Connection::close() {
  return state_->close();
}

}  // namespace linkspan::fuse
