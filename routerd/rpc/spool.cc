#include "routerd/rpc/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace linkspan::rpc {
namespace {

// Before each extent in the file. `data` bytes follow: `length`, or none for a hole.
struct Record {
  uint64_t offset, length, data;
};

uint64_t cost(const Extent& extent) {
  return sizeof(Extent) + extent.data.size();
}

Error disk_error(const std::string& dir, const char* what) {
  const int error = errno;
  const bool full = error == ENOSPC || error == EDQUOT;
  return fail(full ? Code::no_space : Code::io, "the router cannot keep an upload in " + dir +
                                                    ": " + what + ": " + std::strerror(error) +
                                                    "; see spool_dir");
}

}  // namespace

bool SpoolBudget::Space::take(TenantId of, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto at = tenants_.find(of);
  const uint64_t own = at == tenants_.end() ? 0 : at->second;
  const auto fits = [bytes](uint64_t used, uint64_t most) {
    return bytes <= most && used <= most - bytes;
  };
  if (!fits(used_, most_) || !fits(own, most_ / bounds::kTenantSpoolParts)) return false;
  used_ += bytes;
  tenants_[of] += bytes;
  return true;
}

void SpoolBudget::Space::give(TenantId of, uint64_t bytes) {
  if (bytes == 0) return;
  const std::lock_guard lock(mutex_);
  used_ -= bytes;
  const auto at = tenants_.find(of);
  at->second -= bytes;
  if (at->second == 0) tenants_.erase(at);
}

uint64_t SpoolBudget::Space::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

Spool::Spool(SpoolBudget* budget, Options options, TenantId tenant)
    : budget_(budget), options_(std::move(options)), tenant_(tenant) {}

Spool::~Spool() {
  if (fd_ >= 0) close(fd_);
  budget_->give_memory(tenant_, memory_bytes_);
  budget_->give_disk(tenant_, disk_bytes_);
}

bool Spool::keep(Extent* extent) {
  const uint64_t bytes = cost(*extent);
  if (fd_ >= 0 || memory_bytes_ + bytes > options_.memory_bytes ||
      !budget_->take_memory(tenant_, bytes))
    return false;
  memory_bytes_ += bytes;
  bytes_ += extent->data.size();
  memory_.push_back(std::move(*extent));
  return true;
}

Status Spool::write(const Extent& extent) {
  if (fd_ < 0) LINKSPAN_CHECK(open_file());
  LINKSPAN_CHECK(append(extent));
  bytes_ += extent.data.size();
  return ok();
}

Status Spool::open_file() {
  fd_ = open(options_.dir.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    // A filesystem without O_TMPFILE: create and unlink at once.
    std::string path = options_.dir + "/linkspan-upload-XXXXXX";
    fd_ = mkostemp(path.data(), O_CLOEXEC);
    if (fd_ >= 0) unlink(path.c_str());
  }
  if (fd_ < 0) return disk_error(options_.dir, "open");
  for (const Extent& extent : memory_) LINKSPAN_CHECK(append(extent));
  memory_.clear();
  memory_.shrink_to_fit();
  budget_->give_memory(tenant_, memory_bytes_);
  memory_bytes_ = 0;
  return ok();
}

Status Spool::append(const Extent& extent) {
  const uint64_t bytes = sizeof(Record) + extent.data.size();
  if (!budget_->take_disk(tenant_, bytes))
    return fail(Code::busy, "the uploads under way fill the router's spool space; try again later");
  disk_bytes_ += bytes;
  const Record record{extent.offset, extent.length, extent.data.size()};
  LINKSPAN_CHECK(write_all(&record, sizeof record));
  return write_all(extent.data.data(), extent.data.size());
}

Status Spool::write_all(const void* data, size_t size) {
  const char* from = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = pwrite(fd_, from, size, static_cast<off_t>(position_));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return disk_error(options_.dir, "write");
    from += n;
    size -= static_cast<size_t>(n);
    position_ += static_cast<uint64_t>(n);
  }
  return ok();
}

Status Spool::read_all(void* data, size_t size) {
  char* to = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = pread(fd_, to, size, static_cast<off_t>(position_));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return disk_error(options_.dir, "read");
    to += n;
    size -= static_cast<size_t>(n);
    position_ += static_cast<uint64_t>(n);
  }
  return ok();
}

Result<bool> Spool::next(Extent* out) {
  if (fd_ < 0) {
    if (at_ == memory_.size()) return false;
    *out = memory_[at_++];
    return true;
  }
  if (position_ == disk_bytes_) return false;
  Record record{};
  LINKSPAN_CHECK(read_all(&record, sizeof record));
  out->offset = record.offset;
  out->length = record.length;
  out->data.resize(record.data);
  LINKSPAN_CHECK(read_all(out->data.data(), out->data.size()));
  return true;
}

void Spool::rewind() {
  at_ = 0;
  position_ = 0;
}

}  // namespace linkspan::rpc
