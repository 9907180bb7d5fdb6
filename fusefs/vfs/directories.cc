// opendir, readdir, statfs. An entry's offset is its cookie + 2: "." is 1, ".." is 2.
#include <algorithm>

#include "fusefs/vfs/route_vfs.h"

namespace linkspan::vfs {
namespace {

constexpr uint64_t kDotOffset = 1;
constexpr uint64_t kDotDotOffset = 2;

}  // namespace

Result<Handle> RouteVfs::opendir(const Caller& c, Ino ino) {
  LINKSPAN_TRY(const KnownNode known, tree_.node(begin(c), ino));
  if (known.node.attr.kind != Kind::directory)
    return fail(Code::not_directory, "only directories can be listed");
  return files_.open_directory();
}

void RouteVfs::releasedir(Ino ino, Handle h) {}

Result<std::vector<DirItem>> RouteVfs::readdir(const Caller& c, Ino ino, Handle h, uint64_t offset,
                                               size_t limit) {
  const Asked asked = now();
  const Doing doing = begin(c);
  std::vector<DirItem> items;
  if (offset < kDotDotOffset) {
    LINKSPAN_TRY(const KnownNode self, tree_.node(doing, ino));
    relatime_.accessed(ino);
    if (offset < kDotOffset && items.size() < limit)
      items.push_back(
          {".", kDotOffset, shown(options_, self.node.attr), CacheTimes{0, 0, asked.as_of}});
    Attr up = self.node.attr;
    if (up.parent && up.parent != ino) {
      LINKSPAN_TRY(const KnownNode parent, tree_.node(doing, up.parent));
      up = parent.node.attr;
    }
    if (items.size() < limit)
      items.push_back({"..", kDotDotOffset, shown(options_, up), CacheTimes{0, 0, asked.as_of}});
    offset = kDotDotOffset;
  }
  if (items.size() >= limit) return items;
  LINKSPAN_TRY(KnownPage page,
               tree_.page(doing, ino, Cookie{offset - kDotDotOffset}, limit - items.size()));
  // From a listing of a writable route the kernel takes names only (VfsOperations::init).
  std::optional<ToldSizes::Asker> by;
  if (!options_.route.writable()) by = ToldSizes::Asker{c.tid};
  for (KnownPage::Entry& e : page.entries) {
    LINKSPAN_TRY(const AttrReply attr,
                 attr_reply(doing, KnownNode{std::move(e.node), e.node_cached}, asked, by));
    items.push_back({std::move(e.name), e.cookie.value + kDotDotOffset, attr.attr,
                     CacheTimes{entry_time(e.name_cached), attr.timeout, asked.as_of}});
  }
  forget_evicted();
  return items;
}

Result<StatFsReply> RouteVfs::statfs(const Caller& c, Ino ino) {
  return client_->statfs(begin(c).call(), ino);
}

}  // namespace linkspan::vfs
