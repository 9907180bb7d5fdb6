// Writes that no commit has sent yet, reduced to what a commit says (ops.h, CommitRequest): an
// overlay (what stays of the content beneath, a least size, ranges of data and holes), or appended
// bytes whose place the router chooses. Says how the file looks when it is laid over the content
// beneath it, whose size may still change.
//
// Not thread-safe; once nobody changes it any more, any number of threads may read it.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "fusefs/vfs/range_map.h"
#include "fusefs/vfs/spool.h"
#include "linkspan/error.h"
#include "linkspan/ops.h"

namespace linkspan::vfs {

inline constexpr size_t kDirtyRanges = 1 << 18;  // of one buffer

class DirtyBuffer {
 public:
  enum class Kind : uint8_t { overlay, append };

  DirtyBuffer(Kind kind, SpoolPlace* place) : kind_(kind), spool_(place) {}

  Kind kind() const { return kind_; }

  // Overlay: at an offset of the file. `no_space` (also for more than kDirtyRanges), `io`.
  Status write(uint64_t offset, std::string_view data);
  // Append: after what was appended before.
  Status append(std::string_view data);
  // Overlay; `size_now` is the size of the file with this buffer over it. Whatever content it is
  // laid over in the end, nothing of that shows from `size` on.
  void truncate(uint64_t size, uint64_t size_now);
  void punch(uint64_t begin, uint64_t end);  // reads as zeros; `end` is within the file
  void extend(uint64_t size);                // at least this size

  // Of the file, when the content beneath has `beneath` bytes.
  uint64_t size_over(uint64_t beneath) const;
  // How much of the content beneath shows through at all.
  uint64_t kept_of(uint64_t beneath) const;
  // The whole file is of this buffer: nothing beneath shows.
  bool whole() const { return kind_ == Kind::overlay && keep_below_ == 0; }
  // It says something of the range already.
  bool touches(uint64_t begin, uint64_t end) const {
    bool found = false;
    ranges_.visit(begin, end, [&](RangeMap::Piece) { found = true; });
    return found;
  }
  bool has_data() const { return !ranges_.empty() || least_size_ > 0; }

  // Fills what this buffer says of [offset, offset + size) into `out` and returns in `gaps`, as
  // file offsets, what it leaves to the content beneath. The rest of `out` is zeros already.
  Status read(uint64_t beneath, uint64_t offset, char* out, size_t size,
              std::vector<Range>* gaps) const;

  // The ranges of [begin, end) that are holes or data of this buffer, as file offsets.
  template <class Visit>
  void visit(uint64_t beneath, uint64_t begin, uint64_t end, Visit visit) const {
    const uint64_t origin = kind_ == Kind::append ? beneath : 0;
    if (end <= origin) return;
    ranges_.visit(begin > origin ? begin - origin : 0, end - origin, [&](RangeMap::Piece p) {
      visit(RangeMap::Piece{p.begin + origin, p.end + origin, p.hole});
    });
  }

  // keep_below, size, append and extents of a commit of this buffer, which must stay unchanged for
  // as long as the source is used.
  static void describe(std::shared_ptr<const DirtyBuffer> buffer, CommitRequest* out);

  uint64_t bytes() const { return bytes_; }  // accepted by write and append

 private:
  friend class BufferSource;

  const Kind kind_;
  uint64_t keep_below_ = UINT64_MAX;
  uint64_t least_size_ = 0;
  uint64_t bytes_ = 0;
  RangeMap ranges_;  // append: from the start of the appended bytes
  Spool spool_;      // the data ranges' bytes, at the same offsets
};

}  // namespace linkspan::vfs
