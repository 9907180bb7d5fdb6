// Reads: lookups, attributes, listings, content, history.
#include "linkspan/convert.h"
#include "linkspan/convert_check.h"

namespace linkspan::wire {

// ---- requests ----------------------------------------------------------------------------------

void to_wire(const LookupRequest& request, v1::LookupRequest* out) {
  out->set_parent(request.parent.value);
  out->set_name(request.name);
  out->set_want_content(request.want_content);
}

Result<LookupRequest> from_wire(const v1::LookupRequest& m) {
  LINKSPAN_CHECK(check_ino("parent", m.parent()));
  LINKSPAN_CHECK(check_name("name", m.name()));
  return LookupRequest{Ino(m.parent()), m.name(), m.want_content()};
}

void to_wire(const GetAttrRequest& request, v1::GetAttrRequest* out) {
  out->set_ino(request.ino.value);
  out->set_want_content(request.want_content);
}

Result<GetAttrRequest> from_wire(const v1::GetAttrRequest& m) {
  LINKSPAN_CHECK(check_ino("ino", m.ino()));
  return GetAttrRequest{Ino(m.ino()), m.want_content()};
}

void to_wire(const ReadDirRequest& request, v1::ReadDirRequest* out) {
  out->set_dir(request.dir.value);
  out->set_after(request.after.value);
  out->set_limit(request.limit);
  out->set_want_content(request.want_content);
}

Result<ReadDirRequest> from_wire(const v1::ReadDirRequest& m) {
  LINKSPAN_CHECK(check_ino("dir", m.dir()));
  LINKSPAN_CHECK(check_range("after", m.after(), 0, kMaxOffset));
  LINKSPAN_CHECK(check_range("limit", m.limit(), 1, limits::kPageEntries));
  return ReadDirRequest{Ino(m.dir()), Cookie(m.after()), m.limit(), m.want_content()};
}

void to_wire(const ReadRequest& request, v1::ReadRequest* out) {
  out->set_ino(request.ino.value);
  out->set_version(request.version.value);
  out->set_offset(request.offset);
  out->set_length(request.length);
}

Result<ReadRequest> from_wire(const v1::ReadRequest& m) {
  LINKSPAN_CHECK(check_ino("ino", m.ino()));
  LINKSPAN_CHECK(check_number("version", m.version()));
  LINKSPAN_CHECK(check_range("offset", m.offset(), 0, kMaxOffset));
  LINKSPAN_CHECK(check_range("length", m.length(), 0, limits::kReadBytes));
  return ReadRequest{Ino(m.ino()), Version(m.version()), m.offset(), m.length()};
}

void to_wire(const DataRangesRequest& request, v1::DataRangesRequest* out) {
  out->set_ino(request.ino.value);
  out->set_version(request.version.value);
  out->set_offset(request.offset);
}

Result<DataRangesRequest> from_wire(const v1::DataRangesRequest& m) {
  LINKSPAN_CHECK(check_ino("ino", m.ino()));
  LINKSPAN_CHECK(check_number("version", m.version()));
  LINKSPAN_CHECK(check_range("offset", m.offset(), 0, kMaxOffset));
  return DataRangesRequest{Ino(m.ino()), Version(m.version()), m.offset()};
}

void to_wire(Ino ino, v1::XattrsRequest* out) {
  out->set_ino(ino.value);
}
void to_wire(Ino ino, v1::StatFsRequest* out) {
  out->set_ino(ino.value);
}

Result<Ino> from_wire(const v1::XattrsRequest& m) {
  LINKSPAN_CHECK(check_ino("ino", m.ino()));
  return Ino(m.ino());
}

Result<Ino> from_wire(const v1::StatFsRequest& m) {
  LINKSPAN_CHECK(check_ino("ino", m.ino()));
  return Ino(m.ino());
}

void to_wire(const VersionsRequest& request, v1::VersionsRequest* out) {
  out->set_ino(request.ino.value);
  out->set_before(request.before.value);
  out->set_limit(request.limit);
}

Result<VersionsRequest> from_wire(const v1::VersionsRequest& m) {
  LINKSPAN_CHECK(check_ino("ino", m.ino()));
  LINKSPAN_CHECK(check_number("before", m.before()));
  LINKSPAN_CHECK(check_range("limit", m.limit(), 1, limits::kHistoryPage));
  return VersionsRequest{Ino(m.ino()), Version(m.before()), m.limit()};
}

void to_wire(const ChangesRequest& request, v1::ChangesRequest* out) {
  out->set_after(request.after.value);
  out->set_limit(request.limit);
  out->set_newest(request.newest);
  out->set_under_ino(request.under.value);
  out->set_before(request.before.value);
  out->set_volume_of(request.volume_of.value);
  out->set_below(request.below);
  out->set_principal(request.principal);
  out->set_sandbox(request.sandbox);
  out->set_what(request.what);
  out->set_since(request.since.ns);
}

Result<ChangesRequest> from_wire(const v1::ChangesRequest& m) {
  LINKSPAN_CHECK(check_number("after", m.after()));
  LINKSPAN_CHECK(check_range("limit", m.limit(), 1, limits::kHistoryPage));
  LINKSPAN_CHECK(check_number("before", m.before()));
  LINKSPAN_CHECK(check_number("under_ino", m.under_ino()));
  LINKSPAN_CHECK(check_number("volume_of", m.volume_of()));
  LINKSPAN_CHECK(check_bytes("below", m.below().size(), 0, limits::kPathBytes));
  LINKSPAN_CHECK(check_no_nul("below", m.below()));
  LINKSPAN_CHECK(check_bytes("principal", m.principal().size(), 0, limits::kLabelBytes));
  LINKSPAN_CHECK(check_bytes("sandbox", m.sandbox().size(), 0, limits::kLabelBytes));
  LINKSPAN_CHECK(check_bytes("what", m.what().size(), 0, limits::kLabelBytes));
  LINKSPAN_CHECK(check_no_nul("principal", m.principal()));
  LINKSPAN_CHECK(check_no_nul("sandbox", m.sandbox()));
  LINKSPAN_CHECK(check_no_nul("what", m.what()));
  ChangesRequest request;
  request.after = Seq(m.after());
  request.limit = m.limit();
  request.newest = m.newest();
  request.under = Ino(m.under_ino());
  request.before = Seq(m.before());
  request.volume_of = Ino(m.volume_of());
  request.below = m.below();
  request.principal = m.principal();
  request.sandbox = m.sandbox();
  request.what = m.what();
  request.since = Time{m.since()};
  return request;
}

void to_wire(const ConflictsRequest& request, v1::ConflictsRequest* out) {
  out->set_after(request.after.value);
  out->set_limit(request.limit);
}

Result<ConflictsRequest> from_wire(const v1::ConflictsRequest& m) {
  LINKSPAN_CHECK(check_number("after", m.after()));
  LINKSPAN_CHECK(check_range("limit", m.limit(), 1, limits::kHistoryPage));
  return ConflictsRequest{Seq(m.after()), m.limit()};
}

void to_wire(const PrefetchRequest& request, v1::PrefetchRequest* out) {
  out->set_dir(request.dir.value);
  out->set_max_bytes(request.max_bytes);
  out->set_max_nodes(request.max_nodes);
}

Result<PrefetchRequest> from_wire(const v1::PrefetchRequest& m) {
  LINKSPAN_CHECK(check_ino("dir", m.dir()));
  return PrefetchRequest{Ino(m.dir()), m.max_bytes(), m.max_nodes()};
}

// ---- replies -----------------------------------------------------------------------------------

void to_wire(LookupReply&& reply, v1::LookupReply* out) {
  if (reply.node) to_wire(std::move(*reply.node), out->mutable_node());
  out->set_as_of(reply.as_of.value);
}

Result<LookupReply> from_wire(v1::LookupReply&& m) {
  LookupReply reply;
  reply.as_of = Seq(m.as_of());
  if (!m.has_node()) return reply;
  LINKSPAN_TRY(reply.node, from_wire(std::move(*m.mutable_node())));
  return reply;
}

void to_wire(NodeReply&& reply, v1::NodeReply* out) {
  to_wire(std::move(reply.node), out->mutable_node());
  out->set_as_of(reply.as_of.value);
}

Result<NodeReply> from_wire(v1::NodeReply&& m) {
  NodeReply reply;
  LINKSPAN_TRY(reply.node, from_wire(std::move(*m.mutable_node())));
  reply.as_of = Seq(m.as_of());
  return reply;
}

void to_wire(ReadDirReply&& reply, v1::ReadDirReply* out) {
  out->mutable_entries()->Reserve(static_cast<int>(reply.entries.size()));
  for (DirEntry& entry : reply.entries) {
    v1::DirEntry* m = out->add_entries();
    m->set_name(std::move(entry.name));
    m->set_cookie(entry.cookie.value);
    to_wire(std::move(entry.node), m->mutable_node());
  }
  out->set_end(reply.end);
  to_wire(std::move(reply.dir), out->mutable_dir());
  out->set_as_of(reply.as_of.value);
}

namespace {
Result<DirEntry> entry_from(v1::DirEntry&& m, Cookie last) {
  LINKSPAN_CHECK(check_name("entries.name", m.name()));
  LINKSPAN_CHECK(check_range("entries.cookie", m.cookie(), last.value + 1, kMaxOffset));
  DirEntry entry;
  LINKSPAN_TRY(entry.node, from_wire(std::move(*m.mutable_node())));
  entry.cookie = Cookie(m.cookie());
  entry.name = std::move(*m.mutable_name());
  return entry;
}
}  // namespace

Result<ReadDirReply> from_wire(v1::ReadDirReply&& m) {
  LINKSPAN_CHECK(check_count("entries", m.entries_size(), limits::kPageEntries));
  if (m.entries_size() == 0 && !m.end()) return bad("entries", "none, but not the end either");
  ReadDirReply reply;
  LINKSPAN_TRY(reply.dir, from_wire(std::move(*m.mutable_dir())));
  if (reply.dir.attr.kind != Kind::directory) return bad("dir", "is no directory");
  reply.entries.reserve(m.entries_size());
  Cookie last;
  for (v1::DirEntry& wire_entry : *m.mutable_entries()) {
    LINKSPAN_TRY(DirEntry entry, entry_from(std::move(wire_entry), last));
    last = entry.cookie;
    reply.entries.push_back(std::move(entry));
  }
  reply.end = m.end();
  reply.as_of = Seq(m.as_of());
  return reply;
}

void to_wire(ReadReply&& reply, v1::ReadReply* out) {
  out->set_data(std::move(reply.data));
  out->set_version(reply.version.value);
  out->set_size(reply.size);
  out->set_as_of(reply.as_of.value);
}

Result<ReadReply> from_wire(v1::ReadReply&& m) {
  LINKSPAN_CHECK(check_bytes("data", m.data().size(), 0, limits::kReadBytes));
  LINKSPAN_CHECK(check_file_size("size", m.size()));
  return ReadReply{std::move(*m.mutable_data()), Version(m.version()), m.size(), Seq(m.as_of())};
}

void to_wire(const DataRangesReply& reply, v1::DataRangesReply* out) {
  out->mutable_edges()->Reserve(static_cast<int>(2 * reply.ranges.size()));
  for (const DataRange& range : reply.ranges) {
    out->add_edges(range.begin);
    out->add_edges(range.end);
  }
  out->set_until(reply.until);
  out->set_size(reply.size);
  out->set_version(reply.version.value);
}

Result<DataRangesReply> from_wire(v1::DataRangesReply&& m) {
  LINKSPAN_CHECK(check_count("edges", m.edges_size(), 2 * limits::kDataRanges));
  if (m.edges_size() % 2 != 0) return bad("edges", "a range without an end");
  LINKSPAN_CHECK(check_file_size("size", m.size()));
  LINKSPAN_CHECK(check_range("until", m.until(), 0, m.size()));
  DataRangesReply reply;
  reply.ranges.reserve(static_cast<size_t>(m.edges_size()) / 2);
  for (int i = 0; i < m.edges_size(); i += 2) {
    const uint64_t least = i == 0 ? 0 : m.edges(i - 1) + 1;
    LINKSPAN_CHECK(check_range("edges", m.edges(i), least, m.until()));
    LINKSPAN_CHECK(check_range("edges", m.edges(i + 1), m.edges(i) + 1, m.until()));
    reply.ranges.push_back({m.edges(i), m.edges(i + 1)});
  }
  reply.until = m.until();
  reply.size = m.size();
  reply.version = Version(m.version());
  return reply;
}

void to_wire(XattrsReply&& reply, v1::XattrsReply* out) {
  for (Xattr& xattr : reply.xattrs) {
    v1::Xattr* m = out->add_xattrs();
    m->set_name(std::move(xattr.name));
    m->set_value(std::move(xattr.value));
  }
  out->set_as_of(reply.as_of.value);
}

Result<XattrsReply> from_wire(v1::XattrsReply&& m) {
  LINKSPAN_CHECK(check_count("xattrs", m.xattrs_size(), limits::kXattrs));
  XattrsReply reply;
  reply.as_of = Seq(m.as_of());
  size_t total = 0;
  for (v1::Xattr& xattr : *m.mutable_xattrs()) {
    LINKSPAN_CHECK(check_xattr_name("xattrs.name", xattr.name()));
    LINKSPAN_CHECK(check_bytes("xattrs.value", xattr.value().size(), 0, limits::kXattrValueBytes));
    total += xattr.name().size() + xattr.value().size();
    reply.xattrs.push_back({std::move(*xattr.mutable_name()), std::move(*xattr.mutable_value())});
  }
  LINKSPAN_CHECK(check_bytes("xattrs", total, 0, limits::kXattrTotalBytes));
  return reply;
}

void to_wire(const StatFsReply& reply, v1::StatFsReply* out) {
  out->set_total_bytes(reply.total_bytes);
  out->set_used_bytes(reply.used_bytes);
  out->set_total_files(reply.total_files);
  out->set_used_files(reply.used_files);
}

Result<StatFsReply> from_wire(v1::StatFsReply&& m) {
  return StatFsReply{m.total_bytes(), m.used_bytes(), m.total_files(), m.used_files()};
}

void to_wire(const std::vector<VersionInfo>& versions, v1::VersionsReply* out) {
  for (const VersionInfo& info : versions) to_wire(info, out->add_versions());
}

Result<std::vector<VersionInfo>> from_wire(v1::VersionsReply&& m) {
  LINKSPAN_CHECK(check_count("versions", m.versions_size(), limits::kHistoryPage));
  std::vector<VersionInfo> versions;
  versions.reserve(m.versions_size());
  for (v1::VersionInfo& wire_info : *m.mutable_versions()) {
    LINKSPAN_TRY(VersionInfo info, from_wire(std::move(wire_info)));
    versions.push_back(std::move(info));
  }
  return versions;
}

void to_wire(const ChangesReply& reply, v1::ChangesReply* out) {
  for (const Change& change : reply.changes) to_wire(change, out->add_changes());
  out->set_as_of(reply.as_of.value);
  out->set_next(reply.next.value);
}

Result<ChangesReply> from_wire(v1::ChangesReply&& m) {
  LINKSPAN_CHECK(check_count("changes", m.changes_size(), limits::kHistoryPage));
  ChangesReply reply;
  reply.as_of = Seq(m.as_of());
  reply.changes.reserve(m.changes_size());
  for (v1::Change& wire_change : *m.mutable_changes()) {
    LINKSPAN_TRY(Change change, from_wire(std::move(wire_change)));
    reply.changes.push_back(std::move(change));
  }
  reply.next = Seq(m.next());
  return reply;
}

void to_wire(const ConflictsReply& reply, v1::ConflictsReply* out) {
  for (const Conflict& conflict : reply.conflicts) to_wire(conflict, out->add_conflicts());
}

Result<ConflictsReply> from_wire(v1::ConflictsReply&& m) {
  LINKSPAN_CHECK(check_count("conflicts", m.conflicts_size(), limits::kHistoryPage));
  ConflictsReply reply;
  reply.conflicts.reserve(m.conflicts_size());
  for (v1::Conflict& wire_conflict : *m.mutable_conflicts()) {
    LINKSPAN_TRY(Conflict conflict, from_wire(std::move(wire_conflict)));
    reply.conflicts.push_back(std::move(conflict));
  }
  return reply;
}

void to_wire(PrefetchPage&& page, v1::PrefetchReply* out) {
  out->set_dir(page.dir.value);
  to_wire(std::move(page.page), out->mutable_page());
}

Result<PrefetchPage> from_wire(v1::PrefetchReply&& m) {
  LINKSPAN_CHECK(check_ino("dir", m.dir()));
  PrefetchPage page;
  page.dir = Ino(m.dir());
  LINKSPAN_TRY(page.page, from_wire(std::move(*m.mutable_page())));
  return page;
}

}  // namespace linkspan::wire
