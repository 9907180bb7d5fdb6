#include "fusefs/fuse/own_calls.h"

#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "fusefs/fuse/connection_io.h"
#include "fusefs/fuse/errno_table.h"
#include "fusefs/fuse/stat.h"
#include "fusefs/fuse/statx.h"

namespace linkspan::fuse {
namespace {

// Nodes that are not there. Real ones have numbers far below (linkspan/types.h).
constexpr uint64_t kPassage = 0xFFFF'FFFF'0000'0000ull;
constexpr uint64_t kFirstPhantom = kPassage + 1;
constexpr uint64_t kPhantoms = 1u << 20;  // then their numbers begin again
constexpr uint64_t kHandle = UINT64_MAX;  // of what is opened here; the vfs counts from 1

bool is_phantom(uint64_t nodeid) {
  return nodeid >= kPassage;
}

uint32_t this_thread() {
  return static_cast<uint32_t>(::syscall(SYS_gettid));
}

std::string random_name() {
  std::array<uint8_t, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    bytes.fill(0xAA);  // a name that somebody could know does no harm: only our thread finds it
  std::string name = ".linkspan-";
  for (const uint8_t byte : bytes) {
    name += "0123456789abcdef"[byte >> 4];
    name += "0123456789abcdef"[byte & 15];
  }
  return name;
}

fuse_attr to_kernel_attr(const Attr& attr) {
  const struct stat st = to_stat(attr);
  fuse_attr out = {};
  out.ino = st.st_ino;
  out.size = static_cast<uint64_t>(st.st_size);
  out.blocks = static_cast<uint64_t>(st.st_blocks);
  out.atime = static_cast<uint64_t>(st.st_atim.tv_sec);
  out.mtime = static_cast<uint64_t>(st.st_mtim.tv_sec);
  out.ctime = static_cast<uint64_t>(st.st_ctim.tv_sec);
  out.atimensec = static_cast<uint32_t>(st.st_atim.tv_nsec);
  out.mtimensec = static_cast<uint32_t>(st.st_mtim.tv_nsec);
  out.ctimensec = static_cast<uint32_t>(st.st_ctim.tv_nsec);
  out.mode = st.st_mode;
  out.nlink = static_cast<uint32_t>(st.st_nlink);
  out.uid = st.st_uid;
  out.gid = st.st_gid;
  out.blksize = static_cast<uint32_t>(st.st_blksize);
  return out;
}

// Whole seconds: nothing that is kept is kept for less (vfs: kUntilPush).
uint64_t seconds(double timeout) {
  return static_cast<uint64_t>(std::floor(timeout));
}

}  // namespace

// One answer to the kernel; says itself whether it was taken.
class OwnCalls::Reply {
 public:
  Reply(fuse_session* session, const fuse_in_header& request)
      : session_(session), unique_(request.unique) {}
  bool error(int positive_errno) { return send(-positive_errno, nullptr, 0); }  // 0: it is done
  template <class Body>
  bool body(const Body& body) {
    return send(0, &body, sizeof body);
  }

 private:
  bool send(int error, const void* body, size_t size) {
    fuse_out_header header = {};
    header.len = static_cast<uint32_t>(sizeof header + size);
    header.error = error;
    header.unique = unique_;
    iovec parts[] = {{&header, sizeof header}, {const_cast<void*>(body), size}};
    return write_to_kernel(session_, parts, size > 0 ? 2 : 1) ==
           static_cast<ssize_t>(sizeof header + size);
  }

  fuse_session* session_;
  uint64_t unique_;
};

OwnCalls::OwnCalls(vfs::Vfs* vfs, Notifier* notifier)
    : vfs_(vfs), notifier_(notifier), uid_(::getuid()), gid_(::getgid()), passage_(random_name()) {
  at_once_.cancel();
}

void OwnCalls::begin() {
  thread_ = this_thread();
}

void OwnCalls::end() {
  thread_ = 0;
}

void OwnCalls::reach(Ino ino, std::optional<Attr> lost) {
  const std::lock_guard lock(mutex_);
  open_ = true;
  reached_ = ino;
  lost_ = std::move(lost);
}

void OwnCalls::pretend_absent(Ino dir, const std::string& name) {
  const std::lock_guard lock(mutex_);
  pretence_ = Pretence{dir, name, std::nullopt, 0};
}

void OwnCalls::pretend_there(Ino dir, const std::string& name, Attr attr, bool phantom) {
  const std::lock_guard lock(mutex_);
  uint64_t nodeid = notifier_->to_kernel(attr.ino);
  if (phantom) {
    nodeid = kFirstPhantom + phantoms_++ % kPhantoms;
    attr.ino = Ino(nodeid);
  }
  pretence_ = Pretence{dir, name, std::move(attr), nodeid};
}

void OwnCalls::close_passage() {
  const std::lock_guard lock(mutex_);
  open_ = false;
}

void OwnCalls::plain() {
  const std::lock_guard lock(mutex_);
  pretence_.reset();
  reached_ = Ino();
  lost_.reset();
}

bool OwnCalls::takes(const fuse_in_header& header, size_t size) const {
  switch (header.opcode) {
    case FUSE_INIT:
    case FUSE_DESTROY:
    case FUSE_INTERRUPT:
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
      return false;
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR: {  // the kernel may send them later, in nobody's name
      uint64_t handle = 0;
      if (size < sizeof header + sizeof handle) return false;
      std::memcpy(&handle, &header + 1, sizeof handle);
      return handle == kHandle;
    }
    default:
      return header.pid != 0 && header.pid == thread_.load(std::memory_order_relaxed);
  }
}

Attr OwnCalls::phantom_directory() const {
  Attr attr;
  attr.ino = Ino(kPassage);
  attr.kind = Kind::directory;
  attr.mode = 0700;
  attr.uid = uid_;
  attr.gid = gid_;
  attr.nlink = 2;
  return attr;
}

bool OwnCalls::pretends(uint64_t parent, const std::string& name, Pretence* found) {
  const std::lock_guard lock(mutex_);
  if (!pretence_ || pretence_->name != name) return false;
  if (pretence_->dir && notifier_->to_kernel(pretence_->dir) != parent) return false;
  *found = *pretence_;
  pretence_->asked = true;  // the first call is a LOOKUP, or it was not asked
  return true;
}

namespace {

// Kept by nobody: whoever looks next asks again, and is told the truth.
fuse_entry_out passing(uint64_t nodeid, const Attr& attr) {
  fuse_entry_out out = {};
  out.nodeid = nodeid;
  out.attr = to_kernel_attr(attr);
  return out;
}

}  // namespace

// A real node, as the kernel may keep it.
void OwnCalls::entry_now(Reply& reply, const Result<vfs::Entry>& entry) {
  if (!entry.ok()) {
    reply.error(entry.code() == Code::interrupted ? EAGAIN : to_errno(entry.code()));
    return;
  }
  if (entry->negative) {
    reply.error(ENOENT);
    return;
  }
  const uint64_t nodeid = notifier_->to_kernel(entry->attr.ino);
  fuse_entry_out out = passing(nodeid, entry->attr);
  notifier_->known().add(nodeid);
  auto pass = vfs_->reply_gate().enter(entry->times.as_of);
  if (pass.current()) {
    out.entry_valid = seconds(entry->times.entry);
    out.attr_valid = seconds(entry->times.attr);
  }
  if (!reply.body(out)) notifier_->known().forget(nodeid, 1);
}

void OwnCalls::look_up(Reply& reply, uint64_t parent, const std::string& name) {
  Pretence pretence;
  if (pretends(parent, name, &pretence)) {
    if (!pretence.attr) {
      reply.error(ENOENT);
      return;
    }
    if (!is_phantom(pretence.nodeid)) notifier_->known().add(pretence.nodeid);
    if (!reply.body(passing(pretence.nodeid, *pretence.attr)) && !is_phantom(pretence.nodeid))
      notifier_->known().forget(pretence.nodeid, 1);
    return;
  }
  std::unique_lock lock(mutex_);
  const bool open = open_;
  const Ino reached = reached_;
  const std::optional<Attr> lost = lost_;
  lock.unlock();
  if (parent == FUSE_ROOT_ID && name == passage_) {
    if (open)
      reply.body(passing(kPassage, phantom_directory()));
    else
      reply.error(ENOENT);
    return;
  }
  if (parent != kPassage)
    return entry_now(reply, vfs_->lookup(caller(), notifier_->from_kernel(parent), name));
  if (!open || !reached || name != std::to_string(reached.value)) {
    reply.error(ENOENT);
    return;
  }
  if (lost) {
    const uint64_t nodeid = reached.value;
    notifier_->known().add(nodeid);
    if (!reply.body(passing(nodeid, *lost))) notifier_->known().forget(nodeid, 1);
    return;
  }
  const auto now = vfs_->getattr(caller(), reached, std::nullopt);
  if (!now.ok()) return entry_now(reply, now.error());
  return entry_now(reply, vfs::Entry{now->attr, {0, now->timeout, now->as_of}, false});
}

// It was made by somebody else already.
void OwnCalls::make(Reply& reply, uint64_t parent, const std::string& name) {
  Pretence pretence;
  if (!pretends(parent, name, &pretence) || pretence.attr) {
    reply.error(EPERM);
    return;
  }
  entry_now(reply, vfs_->lookup(caller(), notifier_->from_kernel(parent), name));
}

// Not what somebody here has put there meanwhile: that must keep its links. Then the kernel has
// found it without asking.
void OwnCalls::remove(Reply& reply, uint64_t parent, const std::string& name) {
  Pretence pretence;
  if (pretends(parent, name, &pretence) && pretence.attr) {
    reply.error(pretence.asked ? 0 : EAGAIN);
    return;
  }
  const std::lock_guard lock(mutex_);
  const bool lost = parent == kPassage && lost_ && name == std::to_string(reached_.value);
  reply.error(lost ? 0 : EPERM);
}

void OwnCalls::rename(Reply& reply, uint64_t to, const std::string& to_name) {
  Pretence pretence;
  if (pretends(to, to_name, &pretence) && !pretence.attr)
    reply.error(pretence.asked ? 0 : EAGAIN);
  else
    reply.error(EPERM);
}

void OwnCalls::attributes(Reply& reply, uint64_t nodeid, bool statx) {
  vfs::AttrReply now;
  if (nodeid == kPassage) {
    now.attr = phantom_directory();
  } else if (is_phantom(nodeid)) {
    const std::lock_guard lock(mutex_);
    if (pretence_ && pretence_->attr) now.attr = *pretence_->attr;
  } else {
    auto known = vfs_->getattr(caller(), notifier_->from_kernel(nodeid), std::nullopt);
    if (!known.ok()) {
      reply.error(known.code() == Code::interrupted ? EAGAIN : to_errno(known.code()));
      return;
    }
    now = *known;
  }
  auto pass = vfs_->reply_gate().enter(now.as_of);
  const double timeout = pass.current() ? now.timeout : 0;
  if (statx) {
    reply.body(to_statx(now.attr, timeout));
    return;
  }
  fuse_attr_out out = {};
  out.attr_valid = seconds(timeout);
  out.attr = to_kernel_attr(now.attr);
  reply.body(out);
}

void OwnCalls::answer(fuse_session* session, const void* message) {
  const auto& header = *static_cast<const fuse_in_header*>(message);
  const char* body = static_cast<const char*>(message) + sizeof header;
  Reply reply(session, header);
  switch (header.opcode) {
    case FUSE_LOOKUP:
      return look_up(reply, header.nodeid, body);
    case FUSE_MKNOD:
      return make(reply, header.nodeid, body + sizeof(fuse_mknod_in));
    case FUSE_MKDIR:
      return make(reply, header.nodeid, body + sizeof(fuse_mkdir_in));
    case FUSE_SYMLINK:
      return make(reply, header.nodeid, body);
    case FUSE_UNLINK:
    case FUSE_RMDIR:
      return remove(reply, header.nodeid, body);
    case FUSE_RENAME2: {
      fuse_rename2_in in;
      std::memcpy(&in, body, sizeof in);
      const char* from = body + sizeof in;
      return rename(reply, in.newdir, from + std::strlen(from) + 1);
    }
    case FUSE_RENAME: {
      fuse_rename_in in;
      std::memcpy(&in, body, sizeof in);
      const char* from = body + sizeof in;
      return rename(reply, in.newdir, from + std::strlen(from) + 1);
    }
    case FUSE_GETATTR:
    case FUSE_SETATTR:
      return attributes(reply, header.nodeid, false);
    case kOpStatx:
      return attributes(reply, header.nodeid, true);
    case FUSE_OPEN:
    case FUSE_OPENDIR: {
      fuse_open_out out = {};
      out.fh = kHandle;
      out.open_flags = FOPEN_KEEP_CACHE | FOPEN_NOFLUSH;
      reply.body(out);
      return;
    }
    case FUSE_GETXATTR:  // security.capability, before a write
      reply.error(ENODATA);
      return;
    case FUSE_FLUSH:
    case FUSE_FALLOCATE:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      reply.error(0);
      return;
    default:
      reply.error(EAGAIN);
  }
}

}  // namespace linkspan::fuse
