// SEEK_DATA and SEEK_HOLE: what is unsaved, over what the store knows of the version beneath.
#include "fusefs/vfs/route_vfs.h"

namespace linkspan::vfs {

// Holes are only told when all bytes that local programs see are known here. What was written to a
// mapping is not, until the kernel writes the pages back: while another process could have mapped
// the file, all of it counts as data, else a copy of it would lose those bytes.
Result<std::optional<uint64_t>> RouteVfs::seek(const Caller& c, Ino ino, Handle h, uint64_t offset,
                                               bool data) {
  const auto handle = files_.handle(h);
  if (!handle) return no_such_handle();
  const Doing doing = begin(c);
  OpenFile& file = *handle->file;
  for (unsigned step = 0; step < kSeekSteps; ++step) {
    const auto view = file.view();
    LINKSPAN_TRY(const KnownNode known, tree_.node(doing, ino));
    const Attr& attr = known.node.attr;
    const uint64_t size = view ? view->size : attr.size;
    if (offset >= size) return std::optional<uint64_t>();
    if (options_.route.writable() && files_.mapped_by_other(*handle, processes_.of_thread(c.tid)))
      return std::optional<uint64_t>(data ? offset : size);
    const auto map = data_map(doing, *handle, attr, view ? view->base : attr.version, offset);
    if (!map.ok() && map.code() == Code::not_found) continue;  // the version went meanwhile
    if (!map.ok()) return map.error();
    const auto sought = view ? file.seek(offset, data, **map) : (*map)->seek(offset, data);
    if (!sought) continue;  // a commit or another edit came between
    if (sought->what == Sought::What::nothing) return std::optional<uint64_t>();
    if (sought->what == Sought::What::found) return std::optional<uint64_t>(sought->at);
    offset = sought->at;
  }
  return fail(Code::busy, "the file changes faster than it can be searched");
}

// The map of a version that tells `offset`. `attr`: of the head.
Result<std::shared_ptr<const DataMap>> RouteVfs::data_map(const Doing& doing, FileHandle& handle,
                                                          const Attr& attr, Version version,
                                                          uint64_t offset) {
  auto map = std::make_shared<DataMap>();
  map->version = version;
  if (version == attr.version && (attr.allocated == 0 || attr.allocated == attr.size)) {
    map->size = map->until = attr.size;
    if (attr.allocated > 0) map->data = {Range{0, attr.size}};
    return std::shared_ptr<const DataMap>(std::move(map));
  }
  {
    const std::lock_guard lock(handle.data_map_mutex);
    const DataMap* last = handle.data_map.get();
    if (last && last->version == version && last->tells(offset)) return handle.data_map;
  }
  LINKSPAN_TRY(const DataRangesReply reply,
               client_->data_ranges(doing.call(), {handle.file->ino, version, offset}));
  map->size = reply.size;
  map->begin = offset;
  map->until = reply.until;
  if (!map->tells(offset))
    return fail(Code::internal, "the router does not tell where the file has data");
  for (const DataRange& range : reply.ranges) map->data.push_back({range.begin, range.end});
  const std::lock_guard lock(handle.data_map_mutex);
  handle.data_map = map;
  return std::shared_ptr<const DataMap>(std::move(map));
}

}  // namespace linkspan::vfs
