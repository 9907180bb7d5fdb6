#include "routerd/core/usage.h"

#include <algorithm>
#include <string>

namespace linkspan::core {
namespace {

bool fits(uint64_t used, uint64_t reserved, uint64_t more, uint64_t quota) {
  if (quota == 0 || more == 0) return true;
  const uint64_t taken = used + reserved;
  return taken <= quota && more <= quota - taken;
}

}  // namespace

Usage::Usage(const std::vector<store::Volume>& volumes) {
  for (const store::Volume& volume : volumes) {
    accounts_[volume.id] = {volume.name,
                            static_cast<int64_t>(volume.used_bytes),
                            static_cast<int64_t>(volume.used_files),
                            0,
                            0,
                            volume.quota_bytes,
                            volume.quota_files};
    any_quota_ |= volume.quota_bytes != 0 || volume.quota_files != 0;
  }
}

bool Usage::has_quota(VolumeId volume) const {
  const auto at = accounts_.find(volume);
  return at != accounts_.end() && (at->second.quota_bytes != 0 || at->second.quota_files != 0);
}

void Usage::apply(const store::UsageDelta& delta) {
  const std::lock_guard lock(mutex_);
  const auto at = accounts_.find(delta.volume);
  if (at == accounts_.end()) return;
  at->second.bytes += delta.bytes;
  at->second.files += delta.files;
}

StatFsReply Usage::statfs(VolumeId volume) const {
  const std::lock_guard lock(mutex_);
  const auto at = accounts_.find(volume);
  if (at == accounts_.end()) return {};
  const Account& a = at->second;
  const auto total = [](uint64_t quota, uint64_t used, uint64_t unlimited) {
    return std::max(quota == 0 ? unlimited : quota, used);
  };
  return {total(a.quota_bytes, a.used_bytes(), kUnlimitedBytes), a.used_bytes(),
          total(a.quota_files, a.used_files(), kUnlimitedFiles), a.used_files()};
}

Status Usage::Reservation::grow(uint64_t bytes, uint64_t files) {
  const std::lock_guard lock(usage_->mutex_);
  const auto at = usage_->accounts_.find(volume_);
  if (at == usage_->accounts_.end()) return ok();
  Account& a = at->second;
  if (!fits(a.used_bytes(), a.reserved_bytes, bytes, a.quota_bytes))
    return fail(Code::quota, "volume '" + a.name + "' has reached its quota of " +
                                 std::to_string(a.quota_bytes) +
                                 " bytes; remove something or ask the operator for more");
  if (!fits(a.used_files(), a.reserved_files, files, a.quota_files))
    return fail(Code::quota, "volume '" + a.name + "' has reached its quota of " +
                                 std::to_string(a.quota_files) +
                                 " files; remove something or ask the operator for more");
  a.reserved_bytes += bytes;
  a.reserved_files += files;
  bytes_ += bytes;
  files_ += files;
  return ok();
}

Usage::Reservation::~Reservation() {
  if (bytes_ == 0 && files_ == 0) return;
  const std::lock_guard lock(usage_->mutex_);
  Account& a = usage_->accounts_.at(volume_);
  a.reserved_bytes -= bytes_;
  a.reserved_files -= files_;
}

Result<bool> MeteredExtents::next(Extent* out) {
  if (!source_) return false;
  LINKSPAN_TRY(const bool more, source_->next(out));
  if (!more) return false;
  passed_ += out->data.size();
  const uint64_t growth = std::min(most_, passed_ - std::min(passed_, replaced_));
  if (growth > reserved_) {
    const Status grown = reservation_->grow(growth - reserved_, 0);
    refused_ |= !grown.ok();
    LINKSPAN_CHECK(grown);
    reserved_ = growth;
  }
  return true;
}

void MeteredExtents::rewind() {
  passed_ = 0;
  if (source_) source_->rewind();
}

}  // namespace linkspan::core
