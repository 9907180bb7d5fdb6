#include "fusefs/vfs/dirty_buffer.h"

#include <algorithm>
#include <cassert>

#include "linkspan/limits.h"

namespace linkspan::vfs {

// Walks the ranges in ascending order, in parts of at most kExtentBytes of data.
class BufferSource final : public ExtentSource {
 public:
  explicit BufferSource(std::shared_ptr<const DirtyBuffer> buffer) : buffer_(std::move(buffer)) {}

  Result<bool> next(Extent* out) override {
    RangeMap::Piece piece;
    if (!buffer_->ranges_.next(at_, &piece)) return false;
    const uint64_t begin = std::max(at_, piece.begin);
    out->offset = begin;
    out->data.clear();
    if (piece.hole) {
      out->length = piece.end - begin;
    } else {
      out->length = std::min<uint64_t>(piece.end - begin, limits::kExtentBytes);
      out->data.resize(out->length);
      LINKSPAN_CHECK(buffer_->spool_.read(begin, out->data.data(), out->data.size()));
    }
    at_ = begin + out->length;
    return true;
  }
  void rewind() override { at_ = 0; }

 private:
  const std::shared_ptr<const DirtyBuffer> buffer_;
  uint64_t at_ = 0;
};

Status DirtyBuffer::write(uint64_t offset, std::string_view data) {
  assert(kind_ == Kind::overlay);
  if (data.empty()) return ok();
  if (ranges_.size() >= kDirtyRanges)
    return fail(Code::no_space, "too many scattered writes wait for the router");
  LINKSPAN_CHECK(spool_.write(offset, data));
  ranges_.set(offset, offset + data.size(), false);
  least_size_ = std::max(least_size_, offset + data.size());
  bytes_ += data.size();
  return ok();
}

Status DirtyBuffer::append(std::string_view data) {
  assert(kind_ == Kind::append);
  if (data.empty()) return ok();
  LINKSPAN_CHECK(spool_.write(least_size_, data));
  ranges_.set(least_size_, least_size_ + data.size(), false);
  least_size_ += data.size();
  bytes_ += data.size();
  return ok();
}

void DirtyBuffer::truncate(uint64_t size, uint64_t size_now) {
  assert(kind_ == Kind::overlay);
  keep_below_ = std::min(keep_below_, size);
  if (size >= size_now) return extend(size);
  least_size_ = size;
  ranges_.erase(size, UINT64_MAX);
  spool_.cut(size);
}

void DirtyBuffer::punch(uint64_t begin, uint64_t end) {
  assert(kind_ == Kind::overlay);
  if (begin >= end) return;
  ranges_.set(begin, end, true);
  // A commit's extents end at its size; this one is within the file, so nothing grows.
  least_size_ = std::max(least_size_, end);
}

void DirtyBuffer::extend(uint64_t size) {
  assert(kind_ == Kind::overlay);
  least_size_ = std::max(least_size_, size);
}

uint64_t DirtyBuffer::kept_of(uint64_t beneath) const {
  return std::min(beneath, keep_below_);
}

uint64_t DirtyBuffer::size_over(uint64_t beneath) const {
  if (kind_ == Kind::append) return beneath + least_size_;
  return std::max(least_size_, kept_of(beneath));
}

Status DirtyBuffer::read(uint64_t beneath, uint64_t offset, char* out, size_t size,
                         std::vector<Range>* gaps) const {
  const uint64_t end = offset + size;
  const uint64_t kept = kept_of(beneath);
  const uint64_t origin = kind_ == Kind::append ? beneath : 0;
  uint64_t at = offset;  // up to here it is settled who answers
  const auto leave_until = [&](uint64_t until) {
    if (at < std::min(until, kept)) gaps->push_back(Range{at, std::min(until, kept)});
    at = until;
  };
  Status status = ok();
  visit(beneath, offset, end, [&](RangeMap::Piece piece) {
    leave_until(piece.begin);
    if (!piece.hole && status.ok())
      status =
          spool_.read(piece.begin - origin, out + (piece.begin - offset), piece.end - piece.begin);
    at = piece.end;
  });
  leave_until(end);
  return status;
}

void DirtyBuffer::describe(std::shared_ptr<const DirtyBuffer> buffer, CommitRequest* out) {
  out->keep_below = buffer->keep_below_;
  out->size = buffer->least_size_;
  out->append = buffer->kind_ == Kind::append;
  out->extents = std::make_shared<BufferSource>(std::move(buffer));
}

}  // namespace linkspan::vfs
