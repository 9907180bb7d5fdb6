#include "tests/wire/hostile/field_table.h"

#include "linkspan/limits.h"
#include "linkspan/lock_ops.h"

namespace linkspan::hostile {
namespace {

using std::string;

Bound range(uint64_t low, uint64_t high, uint64_t most = UINT64_MAX, Code code = Code::invalid) {
  Bound bound{{}, {low, high}, {}};
  if (low > 0) bound.bad.push_back({low - 1, code});
  bound.bad.push_back({high + 1, code});
  bound.bad.push_back({most, code});
  return bound;
}
Bound range32(uint32_t low, uint32_t high) {
  return range(low, high, UINT32_MAX);
}
Bound any(string why) {
  return {{}, {}, std::move(why)};
}
Bound sizes(size_t low, size_t high, Code code = Code::invalid) {
  Bound bound{{}, {string(low, 'a'), string(high, 'a')}, {}};
  if (low > 0) bound.bad.push_back({string(low - 1, 'a'), Code::invalid});
  bound.bad.push_back({string(high + 1, 'a'), code});
  return bound;
}
Bound count(size_t most) {
  return {{{Times{static_cast<int>(most) + 1}}}, {}, {}};
}
Bound also(Bound bound, std::vector<string> bad) {
  for (string& value : bad) bound.bad.push_back({std::move(value)});
  return bound;
}

const Bound kIno = range(1, limits::kLastNumber);
const Bound kNumber = range(0, limits::kLastNumber);
const Bound kCounted = range(1, limits::kLastNumber);
const Bound kName = also(sizes(1, limits::kNameBytes, Code::name_too_long),
                         {".", "..", "a/b", "/", string("a\0b", 3)});
const Bound kMode = range32(0, 07777);
const Bound kOwner = range32(0, UINT32_MAX - 1);
const Bound kTime = any("every nanosecond of 1677 to 2262");
const Bound kFileBytes = range(0, limits::kFileBytes, UINT64_MAX, Code::too_large);
const Bound kLabel = also(sizes(0, limits::kLabelBytes), {string("a\0b", 3)});
const Bound kPage = range32(1, limits::kHistoryPage);
const Bound kRights = range32(0, 4);
const Bound kRoutePath = also({{}, {string("memory/x"), string("memory/") + string(255, 'x')}, {}},
                              {"", "/memory", "memory/", "a//b", "a/../b", ".linkspan/query",
                               string("a\0b", 3), string(limits::kPathBytes + 1, 'a')});
const Bound kCut = any("the router's own bound is applied, whatever is asked for");

}  // namespace

const std::map<std::string, Bound>& field_bounds() {
  static const std::map<std::string, Bound> bounds = {
      {"OpHeader.number", kCounted},
      {"OpHeader.answered_below", {{{uint64_t{6}}, {UINT64_MAX}}, {uint64_t{0}, uint64_t{5}}, {}}},
      {"LookupRequest.parent", kIno},
      {"LookupRequest.name", kName},
      {"GetAttrRequest.ino", kIno},
      {"ReadDirRequest.dir", kIno},
      {"ReadDirRequest.after", kNumber},
      {"ReadDirRequest.limit", range32(1, limits::kPageEntries)},
      {"ReadRequest.ino", kIno},
      {"ReadRequest.version", kNumber},
      {"ReadRequest.offset", kNumber},
      {"ReadRequest.length", range32(0, limits::kReadBytes)},
      {"DataRangesRequest.ino", kIno},
      {"DataRangesRequest.version", kNumber},
      {"DataRangesRequest.offset", kNumber},
      {"XattrsRequest.ino", kIno},
      {"StatFsRequest.ino", kIno},
      {"CreateRequest.parent", kIno},
      {"CreateRequest.name", kName},
      {"CreateRequest.kind",
       {{{uint64_t{0}}, {uint64_t{6}}, {uint64_t{INT32_MAX}}}, {uint64_t{3}}, {}}},
      {"CreateRequest.mode", kMode},
      {"CreateRequest.uid", kOwner},
      {"CreateRequest.gid", kOwner},
      {"CreateRequest.target", also(sizes(1, limits::kSymlinkBytes), {string("a\0b", 3)})},
      {"RemoveRequest.parent", kIno},
      {"RemoveRequest.name", kName},
      {"RenameRequest.from_parent", kIno},
      {"RenameRequest.from_name", kName},
      {"RenameRequest.to_parent", kIno},
      {"RenameRequest.to_name", kName},
      {"RenameRequest.base_ino", kNumber},
      {"RenameRequest.base_version", kNumber},
      {"LinkRequest.ino", kIno},
      {"LinkRequest.parent", kIno},
      {"LinkRequest.name", kName},
      {"SetAttrRequest.ino", kIno},
      {"SetAttrRequest.mode", kMode},
      {"SetAttrRequest.uid", kOwner},
      {"SetAttrRequest.gid", kOwner},
      {"SetAttrRequest.size", kFileBytes},
      {"SetAttrRequest.atime", kTime},
      {"SetAttrRequest.mtime", kTime},
      {"Head.ino", kIno},
      {"Head.base_version", kNumber},
      {"Head.base_ino", kNumber},
      {"Head.keep_below", any("of what is there; UINT64_MAX: all")},
      {"Head.size", kFileBytes},
      {"Head.mtime", kTime},
      {"CommitPart.extents", count(limits::kExtentsPerPart)},
      {"Extent.offset",
       {{{limits::kFileBytes + 1, Code::too_large}, {UINT64_MAX, Code::too_large}},
        {uint64_t{0}},
        {}}},
      // (Of an extent with three bytes of data: what it says of itself must be true.)
      {"Extent.length", {{{uint64_t{0}}, {uint64_t{2}}, {uint64_t{4}}, {UINT64_MAX}}, {}, {}}},
      {"Extent.data", {{{string("ab")}, {string(limits::kExtentBytes + 1, 'a')}}, {string()}, {}}},
      {"SetXattrRequest.ino", kIno},
      {"SetXattrRequest.name", also(sizes(1, limits::kXattrNameBytes), {string("a\0b", 3)})},
      {"SetXattrRequest.value", sizes(0, limits::kXattrValueBytes)},
      {"VersionsRequest.ino", kIno},
      {"VersionsRequest.before", kNumber},
      {"VersionsRequest.limit", kPage},
      {"ChangesRequest.after", kNumber},
      {"ChangesRequest.limit", kPage},
      {"ChangesRequest.under_ino", kNumber},
      {"ChangesRequest.before", kNumber},
      {"ChangesRequest.volume_of", kNumber},
      {"ChangesRequest.below", also(sizes(0, limits::kPathBytes), {string("a\0b", 3)})},
      {"ChangesRequest.principal", kLabel},
      {"ChangesRequest.sandbox", kLabel},
      {"ChangesRequest.what", kLabel},
      {"ChangesRequest.since", kTime},
      {"ConflictsRequest.after", kNumber},
      {"ConflictsRequest.limit", kPage},
      {"SettleRequest.number", kCounted},
      {"GiveUpRequest.number", kCounted},
      {"PrefetchRequest.dir", kIno},
      {"PrefetchRequest.max_bytes", kCut},
      {"PrefetchRequest.max_nodes", kCut},
      {"Lock.ino", kIno},
      {"Lock.kind", range32(1, 2)},
      {"Lock.owner", any("a number of the session's own choice")},
      {"Lock.type", {{{uint64_t{3}}, {uint64_t{UINT32_MAX}}}, {uint64_t{1}, uint64_t{2}}, {}}},
      {"Lock.begin", {{{limits::kLockEnd}, {UINT64_MAX}}, {uint64_t{0}}, {}}},
      {"Lock.end", {{{uint64_t{0}}, {limits::kLockEnd + 1}, {UINT64_MAX}}, {limits::kLockEnd}, {}}},
      {"Lock.pid", range32(0, INT32_MAX)},
      {"SetLockRequest.number", kCounted},
      {"SetLockRequest.answered_below",
       {{{uint64_t{6}}, {UINT64_MAX}}, {uint64_t{0}, uint64_t{5}}, {}}},
      {"SetLockRequest.wait", range32(0, 2)},
      {"CancelLockRequest.number", kCounted},
      {"CancelLockRequest.answered_below",
       {{{uint64_t{6}}, {UINT64_MAX}}, {uint64_t{0}, uint64_t{5}}, {}}},
      {"ReclaimLocksRequest.locks", count(limits::kLocksPerSession)},
      {"AttachRequest.token", {{{string(limits::kTokenBytes + 1, 'a')}}, {}, {}}},
      {"AttachRequest.client", sizes(0, limits::kLabelBytes)},
      {"AttachRequest.resume_session", any("of a session that is not there: a new one")},
      {"AttachRequest.resume_secret",
       {{{string()}, {string(15, 'a')}, {string(17, 'a')}}, {string(16, 'a')}, {}}},
      {"AttachRequest.resume_revocation", kNumber},
      {"AttachRequest.instance",
       {{{string(1, 'a')}, {string(31, 'a')}, {string(33, 'a')}}, {string(32, 'a')}, {}}},
      {"NarrowRequest.token", {{{string(limits::kTokenBytes + 1, 'a')}}, {}, {}}},
      {"NarrowRequest.instance",
       {{{string(1, 'a')}, {string(31, 'a')}, {string(33, 'a')}}, {string(32, 'a')}, {}}},
      {"NarrowRequest.reaches", count(limits::kRoutes * limits::kReaches)},
      {"NarrowRequest.rights", kRights},
      {"NarrowRequest.expires", {{{uint64_t{1} << 63}, {UINT64_MAX}}, {uint64_t{0}}, {}}},
      {"NarrowRequest.sandbox",
       also({{}, {string(limits::kLabelBytes, 'a')}, {}},
            {string(limits::kLabelBytes + 1, 'a'), "a/b", ".", "..", "a\tb", "a\nb", "a\x1b[b"})},
      {"Reach.path", kRoutePath},
      {"Reach.rights", kRights},
      {"Hello.last_revocation", kNumber},
      {"Renew.answered_below", kNumber},
      {"Renew.nonce", any("comes back as it is")},
      {"Ack.revocation", kNumber},
  };
  return bounds;
}

}  // namespace linkspan::hostile
