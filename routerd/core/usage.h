// What the volumes of a tenant hold, and their quotas. Growth is reserved before the store is
// asked, so that racing writers never pass a quota together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "linkspan/ops.h"
#include "routerd/store/store.h"

namespace linkspan::core {

// Threads: any. mutex_ is a leaf.
class Usage {
 public:
  // The size that a volume without a quota reports: no limit of ours, and the disk's is not known.
  // A constant, so that what is free goes down by what is written.
  static constexpr uint64_t kUnlimitedBytes = 1ull << 50;
  static constexpr uint64_t kUnlimitedFiles = 1ull << 32;

  // Growth that was promised to one mutation; given back when it is over.
  class Reservation {
   public:
    Reservation(Usage* usage, VolumeId volume) : usage_(usage), volume_(volume) {}
    ~Reservation();
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    // `quota`: it does not fit.
    Status grow(uint64_t bytes, uint64_t files);

   private:
    Usage* usage_;
    VolumeId volume_;
    uint64_t bytes_ = 0, files_ = 0;
  };

  explicit Usage(const std::vector<store::Volume>& volumes);

  bool any_quota() const { return any_quota_; }
  bool has_quota(VolumeId volume) const;
  void apply(const store::UsageDelta& delta);
  StatFsReply statfs(VolumeId volume) const;

 private:
  struct Account {
    // Deltas come in any order: a removal may be counted before what it removes.
    uint64_t used_bytes() const { return static_cast<uint64_t>(std::max<int64_t>(bytes, 0)); }
    uint64_t used_files() const { return static_cast<uint64_t>(std::max<int64_t>(files, 0)); }

    std::string name;
    int64_t bytes = 0, files = 0;
    uint64_t reserved_bytes = 0, reserved_files = 0;
    uint64_t quota_bytes = 0, quota_files = 0;
  };

  mutable std::mutex mutex_;              // leaf
  std::map<VolumeId, Account> accounts_;  // which ones: constant
  bool any_quota_ = false;
};

// Passes extents on while they fit into what a commit may take.
//
// A commit replaces `replaced` stored bytes and cannot end with more than `most` stored bytes more
// than before; the data in between decides.
class MeteredExtents final : public ExtentSource {
 public:
  MeteredExtents(std::shared_ptr<ExtentSource> source, Usage::Reservation* reservation,
                 uint64_t replaced, uint64_t most)
      : source_(std::move(source)), reservation_(reservation), replaced_(replaced), most_(most) {}
  Result<bool> next(Extent* out) override;
  bool refused() const { return refused_; }  // something did not fit
  void rewind() override;  // what was reserved stays so: the second run needs the same

 private:
  std::shared_ptr<ExtentSource> source_;  // may be null
  Usage::Reservation* reservation_;
  const uint64_t replaced_, most_;
  uint64_t passed_ = 0;    // bytes of data in this run
  uint64_t reserved_ = 0;  // bytes, over all runs
  bool refused_ = false;
};

}  // namespace linkspan::core
