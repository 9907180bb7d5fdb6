#include "fusefs/vfs/spool.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace linkspan::vfs {
namespace {

constexpr uint64_t kSpoolBlock = 64 << 10;

Error disk_error(const char* what, const std::string& dir, int error) {
  const Code code = error == ENOSPC || error == EDQUOT ? Code::no_space : Code::io;
  return fail(code, std::string(what) + " the temporary file for unsaved data in " + dir + ": " +
                        std::strerror(error));
}

int open_unlinked(const std::string& dir) {
  int fd = ::open(dir.c_str(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  std::string name = dir + "/linkspan-dirty-XXXXXX";
  fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd >= 0) ::unlink(name.c_str());
  return fd;
}

Status write_all(int fd, uint64_t offset, std::string_view data, const std::string& dir) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return disk_error("cannot write to", dir, errno);
    data.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return ok();
}

}  // namespace

std::chrono::milliseconds SpoolPlace::pause() const {
  const auto ours = static_cast<double>(on_disk.load(std::memory_order_relaxed));
  struct statvfs disk;
  if (ours == 0 || ::statvfs(dir.c_str(), &disk) != 0) return std::chrono::milliseconds(0);
  const double left = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
  if (left >= ours) return std::chrono::milliseconds(0);
  return std::chrono::ceil<std::chrono::milliseconds>(kSpoolPause * (1 - left / ours));
}

Status SpoolPlace::await_room(const cache::Patience& patience) {
  const uint64_t before = [this] {
    const std::lock_guard lock(mutex_);
    return gone_;
  }();
  return patience.wait(mutex_, room_, [&] { return gone_ != before; });
}

void SpoolPlace::made_room() {
  {
    const std::lock_guard lock(mutex_);
    ++gone_;
  }
  room_.notify_all();
}

Spool::~Spool() {
  charge(memory_, 0);
  reaches(0);
  if (fd_ >= 0) ::close(fd_);
  place_->made_room();
}

void Spool::reaches(uint64_t end) {
  place_->on_disk.fetch_add(end - end_, std::memory_order_relaxed);
  end_ = end;
}

void Spool::charge(size_t before, size_t after) {
  memory_ += after - before;
  place_->used.fetch_add(after - before, std::memory_order_relaxed);
}

Status Spool::write(uint64_t offset, std::string_view data) {
  if (fd_ < 0 &&
      (memory_ + data.size() > place_->memory_each ||
       place_->used.load(std::memory_order_relaxed) + data.size() > place_->memory_total))
    LINKSPAN_CHECK(spill());
  if (fd_ >= 0) {
    LINKSPAN_CHECK(write_all(fd_, offset, data, place_->dir));
    reaches(std::max(end_, offset + data.size()));
    return ok();
  }
  while (!data.empty()) {
    const uint64_t within = offset % kSpoolBlock;
    const size_t part = std::min<size_t>(data.size(), kSpoolBlock - within);
    std::string& block = blocks_[offset / kSpoolBlock];
    const size_t before = block.capacity();
    if (block.size() < within + part) block.resize(within + part);
    std::memcpy(block.data() + within, data.data(), part);
    charge(before, block.capacity());
    data.remove_prefix(part);
    offset += part;
  }
  return ok();
}

Status Spool::spill() {
  const int fd = open_unlinked(place_->dir);
  if (fd < 0) return disk_error("cannot make", place_->dir, errno);
  for (const auto& [block, bytes] : blocks_) {
    if (auto written = write_all(fd, block * kSpoolBlock, bytes, place_->dir); !written.ok()) {
      ::close(fd);
      return written;
    }
  }
  fd_ = fd;
  if (!blocks_.empty())
    reaches(blocks_.rbegin()->first * kSpoolBlock + blocks_.rbegin()->second.size());
  charge(memory_, 0);
  blocks_.clear();
  return ok();
}

Status Spool::read(uint64_t offset, char* out, size_t size) const {
  while (size > 0) {
    size_t part = 0;
    if (fd_ >= 0) {
      const ssize_t n = ::pread(fd_, out, size, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return disk_error("cannot read", place_->dir, errno);
      if (n == 0) return fail(Code::io, "the temporary file for unsaved data is too short");
      part = static_cast<size_t>(n);
    } else {
      const uint64_t within = offset % kSpoolBlock;
      const auto block = blocks_.find(offset / kSpoolBlock);
      if (block == blocks_.end() || block->second.size() <= within)
        return fail(Code::internal, "unsaved data is not where it was written");
      part = std::min<size_t>(size, block->second.size() - within);
      std::memcpy(out, block->second.data() + within, part);
    }
    out += part;
    offset += part;
    size -= part;
  }
  return ok();
}

void Spool::cut(uint64_t size) {
  if (fd_ >= 0) {
    reaches(std::min(end_, size));
    // The file may end earlier: then there is nothing to give back, and it must not grow.
    if (const off_t end = ::lseek(fd_, 0, SEEK_END);
        end > 0 && static_cast<uint64_t>(end) > size && ::ftruncate(fd_, static_cast<off_t>(size)))
      return;  // the space comes back when the buffer goes
    return;
  }
  auto it = blocks_.lower_bound((size + kSpoolBlock - 1) / kSpoolBlock);
  for (; it != blocks_.end(); it = blocks_.erase(it)) charge(it->second.capacity(), 0);
}

}  // namespace linkspan::vfs
