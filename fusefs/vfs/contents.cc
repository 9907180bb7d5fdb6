#include "fusefs/vfs/contents.h"

#include <algorithm>
#include <cstring>

#include "linkspan/limits.h"

namespace linkspan::vfs {

// From the block of `offset` on: what is asked for, or more while the reads go on in sequence. The
// windows of parallel readers fall together because they are aligned to their length.
Contents::Window Contents::window(const cache::ContentId& id, uint64_t offset, size_t size,
                                  uint32_t run) {
  uint64_t length = cache::kBlockBytes << std::min<uint32_t>(run, 3);
  if (length < limits::kReadBytes) {
    const uint64_t begin = offset / length * length;
    if (offset + size <= begin + length) return Window{id, begin, static_cast<uint32_t>(length)};
  }
  length = limits::kReadBytes;
  return Window{id, offset / length * length, static_cast<uint32_t>(length)};
}

// A file that replaces another goes on with that one's history: from then on its number of before
// can be a version of what it replaced, and we may not have been told yet. So it is the head that
// is asked for, which is its own content under whatever number; only what is not the head any more
// is asked for by its number.
Result<ReadReply> Contents::ask(const Doing& doing, const Window& window,
                                std::optional<uint64_t> whole) {
  ReadRequest request{window.id.ino, Version{}, window.offset, window.length};
  LINKSPAN_TRY(ReadReply head, client_->read(doing.call(), request));
  if (head.version == window.id.version) return head;
  request.version = window.id.version;
  LINKSPAN_TRY(ReadReply reply, client_->read(doing.call(), request));
  if (whole && reply.size != *whole)
    return fail(Code::not_found, "the number is of another content by now");
  return reply;
}

Result<std::string> Contents::fetch(const Doing& doing, const Window& window,
                                    std::optional<uint64_t> whole) {
  return flights_.run(window, doing.patience(), [&]() -> cache::Fetched<std::string> {
    const uint64_t asked = cache_->moment();
    auto reply = ask(doing, window, whole);
    if (!reply.ok()) return {reply.error(), false};
    cache_->put(asked, window.id, window.offset, reply->data);
    return {std::move(reply->data), true};
  });
}

Status Contents::read(const Doing& doing, const cache::ContentId& id, std::optional<uint64_t> whole,
                      uint64_t offset, char* out, size_t size, uint32_t run) {
  bool missed = false;
  while (size > 0) {
    size_t got = cache_->read(id, offset, out, size);
    if (got == 0) {
      missed = true;
      const Window wanted = window(id, offset, size, run);
      LINKSPAN_TRY(const std::string data, fetch(doing, wanted, whole));
      const uint64_t within = offset - wanted.offset;
      if (within >= data.size())
        return fail(Code::io, "the router sent less of the file than it has");
      got = std::min<size_t>(size, data.size() - within);
      std::memcpy(out, data.data() + within, got);
    }
    out += got;
    offset += got;
    size -= got;
  }
  (missed ? misses_ : hits_).fetch_add(1, std::memory_order_relaxed);
  return ok();
}

}  // namespace linkspan::vfs
