#include "tests/support/fake_kernel.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

namespace linkspan::test {
namespace {

constexpr int kSocketBytes = 4 << 20;  // so that a 1 MiB message fits
constexpr size_t kMostMessage = (1 << 20) + 65536;
constexpr uint64_t kInitUnique = 1;

std::string request(uint32_t opcode, uint64_t unique, uint64_t nodeid, const std::string& body,
                    int32_t pid) {
  fuse_in_header header = {};
  header.len = static_cast<uint32_t>(sizeof header + body.size());
  header.opcode = opcode;
  header.unique = unique;
  header.nodeid = nodeid;
  header.uid = getuid();
  header.gid = getgid();
  header.pid = static_cast<uint32_t>(pid);
  return Bytes().add(header).raw(body).str();
}

void enlarge(int socket) {
  for (int option : {SO_SNDBUFFORCE, SO_SNDBUF})
    if (setsockopt(socket, SOL_SOCKET, option, &kSocketBytes, sizeof kSocketBytes) == 0) return;
}

}  // namespace

FakeKernel::FakeKernel(fuse::Operations* operations, fuse::Notifier* notifier)
    : FakeKernel(operations, notifier, Options()) {}

FakeKernel::FakeKernel(fuse::Operations* operations, fuse::Notifier* notifier, Options options) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    throw std::runtime_error("socketpair failed");
  socket_ = pair[0];
  for (int end : pair) enlarge(end);
  fuse_init_in in = {};
  in.major = FUSE_KERNEL_VERSION;
  in.minor = FUSE_KERNEL_MINOR_VERSION;
  in.max_readahead = 1 << 17;
  in.flags = options.init_flags;
  send_raw(request(FUSE_INIT, kInitUnique, 0, Bytes().add(in).str(), 0));
  reader_ = std::thread([this] { read_all(); });
  fuse::ConnectionOptions connection;
  connection.mount.mountpoint = "fake kernel";
  connection.socket = pair[1];
  connection.max_threads = options.max_threads;
  connection.idle_threads = options.idle_threads;
  auto opened = fuse::Connection::open(connection, operations, notifier);
  if (!opened.ok()) throw std::runtime_error(opened.error().message);
  connection_ = std::move(opened).value();
  init_ = reply(kInitUnique).as<fuse_init_out>();
}

FakeKernel::~FakeKernel() {
  hang_up();
  connection_.reset();
  if (reader_.joinable()) reader_.join();
  close(socket_);
}

void FakeKernel::hang_up() {
  shutdown(socket_, SHUT_RDWR);
}

uint64_t FakeKernel::send(uint32_t opcode, uint64_t nodeid, const std::string& body, int32_t pid) {
  uint64_t unique;
  {
    std::lock_guard lock(mutex_);
    unique = next_unique_ += 2;  // even, as the kernel's: odd ones are interrupts
  }
  send_raw(request(opcode, unique, nodeid, body, pid));
  return unique;
}

void FakeKernel::send_raw(const std::string& message) {
  if (::send(socket_, message.data(), message.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(message.size()))
    throw std::runtime_error(std::string("send: ") + std::strerror(errno));
}

void FakeKernel::interrupt(uint64_t unique) {
  fuse_interrupt_in in = {};
  in.unique = unique;
  send_raw(request(FUSE_INTERRUPT, unique | 1, 0, Bytes().add(in).str(), 0));
}

void FakeKernel::forget(uint64_t nodeid, uint64_t count) {
  fuse_forget_in in = {};
  in.nlookup = count;
  send(FUSE_FORGET, nodeid, Bytes().add(in).str());
}

Reply FakeKernel::reply(uint64_t unique) {
  auto found = reply_within(unique, kPatience);
  if (!found) throw std::runtime_error("no reply to request " + std::to_string(unique));
  return *found;
}

std::optional<Reply> FakeKernel::reply_within(uint64_t unique, std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  if (!arrived_.wait_for(lock, time, [&] { return replies_.count(unique) != 0; }))
    return std::nullopt;
  auto node = replies_.extract(unique);
  return node.mapped();
}

std::vector<std::string> FakeKernel::notifications(size_t count) {
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, kPatience, [&] { return notifications_.size() >= count; });
  return notifications_;
}

void FakeKernel::read_all() {
  std::string buffer(kMostMessage, '\0');
  for (;;) {
    ssize_t n = recv(socket_, buffer.data(), buffer.size(), 0);
    if (n <= 0) {
      if (n < 0 && errno == EINTR) continue;
      return;
    }
    std::string message = buffer.substr(0, static_cast<size_t>(n));
    Reply reply;
    if (message.size() >= sizeof reply.header) {
      std::memcpy(&reply.header, message.data(), sizeof reply.header);
      reply.body = message.substr(sizeof reply.header);
    }
    std::lock_guard lock(mutex_);
    if (reply.header.unique == 0)
      notifications_.push_back(message);
    else
      replies_[reply.header.unique] = std::move(reply);
    arrived_.notify_all();
  }
}

int32_t dead_pid() {
  pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  return child;
}

std::vector<ListedEntry> parse_listing(const std::string& body, bool plus) {
  std::vector<ListedEntry> entries;
  for (size_t at = 0; at < body.size();) {
    ListedEntry listed;
    if (plus) {
      std::memcpy(&listed.entry, body.data() + at, sizeof listed.entry);
      listed.nodeid = listed.entry.nodeid;
      at += sizeof listed.entry;
    }
    fuse_dirent dirent;
    std::memcpy(&dirent, body.data() + at, FUSE_NAME_OFFSET);
    listed.ino = dirent.ino;
    listed.offset = dirent.off;
    listed.type = dirent.type;
    listed.name = body.substr(at + FUSE_NAME_OFFSET, dirent.namelen);
    at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + dirent.namelen);
    entries.push_back(std::move(listed));
  }
  return entries;
}

}  // namespace linkspan::test
