#include "tests/fuzz/hostile_client.h"

namespace linkspan::fuzz {
namespace {

constexpr size_t kBytes = 4096;  // of content in one reply

void make_lock(Input& in, v1::Lock* out) {
  out->set_ino(in.ino());
  out->set_kind(1 + in.small(1));
  out->set_owner(in.number());
  out->set_type(1 + in.small(1));
  out->set_begin(out->kind() == 2 ? 0 : in.number(limits::kLockEnd - 1));
  out->set_end(out->kind() == 2 ? limits::kLockEnd
                                : std::max(in.number(limits::kLockEnd), out->begin() + 1));
  out->set_pid(static_cast<uint32_t>(in.number(INT32_MAX)));
}

}  // namespace

std::optional<Error> HostileClient::refusal() {
  if (!in_.left()) return fail(Code::io, "the router has nothing more to say");
  const uint8_t code = in_.small(127);
  if (code == 0 || code > static_cast<uint8_t>(Code::fenced)) return std::nullopt;
  // What the client itself goes on trying would go on for ever.
  Error error = fail(static_cast<Code>(code), in_.name());
  error.head_version = in_.flag() ? in_.number() : in_.small(8);
  return error;
}

void HostileClient::make_node(v1::Node* out, Ino ino) {
  v1::Attr* attr = out->mutable_attr();
  attr->set_ino(ino && in_.small(7) != 7 ? ino.value : in_.ino());
  attr->set_kind(static_cast<v1::Kind>(1 + in_.small(4)));
  if (in_.flag()) attr->set_kind(v1::KIND_FILE);
  attr->set_mode(static_cast<uint32_t>(in_.number(07777)));
  attr->set_uid(static_cast<uint32_t>(in_.number(UINT32_MAX)));
  attr->set_gid(static_cast<uint32_t>(in_.number(UINT32_MAX)));
  attr->set_nlink(static_cast<uint32_t>(in_.number(UINT32_MAX)));
  attr->set_size(in_.number(limits::kFileBytes));
  attr->set_allocated(in_.number(INT64_MAX));
  attr->set_atime(static_cast<int64_t>(in_.number()));
  attr->set_mtime(static_cast<int64_t>(in_.number()));
  attr->set_ctime(static_cast<int64_t>(in_.number()));
  attr->set_version(in_.flag() ? in_.small(8) : in_.number());
  attr->set_seq(in_.number());
  attr->set_has_xattrs(in_.flag());
  attr->set_parent(in_.ino());
  if (in_.flag()) attr->set_access(in_.small(4));
  if (attr->kind() == v1::KIND_SYMLINK) out->set_target(in_.name());
  if (attr->kind() != v1::KIND_FILE || !in_.flag()) return;
  out->set_content(in_.bytes(kBytes));
  out->set_content_version(attr->version());
  attr->set_size(out->content().size());
}

Result<LookupReply> HostileClient::lookup(const client::Call&, const LookupRequest&) {
  if (auto error = refusal()) return *error;
  v1::LookupReply m;
  if (in_.small(7) != 7) make_node(m.mutable_node());
  m.set_as_of(in_.number());
  return wire::from_wire(std::move(m));
}

Result<NodeReply> HostileClient::getattr(const client::Call&, const GetAttrRequest& request) {
  if (auto error = refusal()) return *error;
  v1::NodeReply m;
  make_node(m.mutable_node(), request.ino);
  m.set_as_of(in_.number());
  return wire::from_wire(std::move(m));
}

Result<ReadDirReply> HostileClient::readdir(const client::Call&, const ReadDirRequest& request) {
  if (auto error = refusal()) return *error;
  v1::ReadDirReply m;
  make_node(m.mutable_dir(), request.dir);
  m.mutable_dir()->mutable_attr()->set_kind(v1::KIND_DIRECTORY);
  m.mutable_dir()->clear_content();
  m.mutable_dir()->clear_target();
  uint64_t cookie = in_.flag() ? request.after.value : 0;
  for (int count = in_.small(6); count > 0; --count) {
    v1::DirEntry* entry = m.add_entries();
    entry->set_name(in_.name());
    cookie += 1 + in_.number(in_.flag() ? 8 : INT64_MAX - 1);
    entry->set_cookie(cookie);
    make_node(entry->mutable_node());
  }
  m.set_end(m.entries_size() == 0 || in_.flag());
  m.set_as_of(in_.number());
  return wire::from_wire(std::move(m));
}

Result<ReadReply> HostileClient::read(const client::Call&, const ReadRequest& request) {
  if (auto error = refusal()) return *error;
  v1::ReadReply m;
  m.set_data(in_.bytes(kBytes));
  m.set_version(in_.flag() ? request.version.value : in_.small(8));
  m.set_size(in_.flag() ? in_.number(limits::kFileBytes) : request.offset + m.data().size());
  m.set_as_of(in_.number());
  return wire::from_wire(std::move(m));
}

Result<DataRangesReply> HostileClient::data_ranges(const client::Call&,
                                                   const DataRangesRequest& request) {
  if (auto error = refusal()) return *error;
  v1::DataRangesReply m;
  uint64_t edge = in_.flag() ? request.offset : 0;
  for (int count = 2 * in_.small(3); count > 0; --count)
    m.add_edges(edge += 1 + in_.number(1 << 20));
  m.set_size(std::max(edge, in_.number(limits::kFileBytes)));
  m.set_until(std::max(edge, std::min(m.size(), in_.number())));
  m.set_version(in_.flag() ? request.version.value : in_.number());
  return wire::from_wire(std::move(m));
}

Result<XattrsReply> HostileClient::xattrs(const client::Call&, Ino) {
  if (auto error = refusal()) return *error;
  v1::XattrsReply m;
  for (int count = in_.small(4); count > 0; --count) {
    v1::Xattr* xattr = m.add_xattrs();
    xattr->set_name("user." + in_.name());
    xattr->set_value(in_.bytes(kBytes));
  }
  m.set_as_of(in_.number());
  return wire::from_wire(std::move(m));
}

Result<StatFsReply> HostileClient::statfs(const client::Call&, Ino) {
  if (auto error = refusal()) return *error;
  return StatFsReply{in_.number(), in_.number(), in_.number(), in_.number()};
}

Result<std::vector<VersionInfo>> HostileClient::versions(const client::Call&,
                                                         const VersionsRequest&) {
  if (auto error = refusal()) return *error;
  v1::VersionsReply m;
  for (int count = in_.small(4); count > 0; --count) {
    v1::VersionInfo* info = m.add_versions();
    info->set_version(in_.number());
    info->set_size(in_.number(limits::kFileBytes));
    info->set_principal(in_.name());
    info->set_at(static_cast<int64_t>(in_.number()));
    info->set_what(in_.name());
    info->set_ino(in_.ino());
  }
  return wire::from_wire(std::move(m));
}

Result<ChangesReply> HostileClient::changes(const client::Call&, const ChangesRequest&) {
  if (auto error = refusal()) return *error;
  v1::ChangesReply m;
  for (int count = in_.small(4); count > 0; --count) {
    v1::Change* change = m.add_changes();
    change->set_seq(in_.number());
    change->set_what(in_.name());
    change->set_ino(in_.ino());
    change->set_path(in_.name());
    change->set_old_path(in_.name());
    change->set_principal(in_.name());
    change->set_at(static_cast<int64_t>(in_.number()));
  }
  m.set_next(in_.number());
  return wire::from_wire(std::move(m));
}

Result<ConflictsReply> HostileClient::conflicts(const client::Call&, const ConflictsRequest&) {
  if (auto error = refusal()) return *error;
  v1::ConflictsReply m;
  for (int count = in_.small(4); count > 0; --count) {
    v1::Conflict* conflict = m.add_conflicts();
    conflict->set_number(std::max<uint64_t>(in_.number(limits::kLastNumber), 1));
    conflict->set_what(in_.name());
    conflict->set_path(in_.name());
    conflict->set_theirs(in_.ino());
    conflict->set_size(in_.number(limits::kFileBytes));
    conflict->set_at(static_cast<int64_t>(in_.number()));
  }
  return wire::from_wire(std::move(m));
}

Result<MutationReply> HostileClient::mutation() {
  if (auto error = refusal()) return *error;
  v1::MutationReply m;
  m.set_seq(in_.number());
  for (int count = in_.small(3); count > 0; --count) make_node(m.add_nodes());
  m.set_offset(in_.number(limits::kFileBytes));
  m.set_merged(in_.flag());
  m.set_created(in_.flag());
  m.set_version(in_.flag() ? in_.small(8) : in_.number());
  m.set_as_of(in_.number());
  return wire::from_wire(std::move(m));
}

Result<MutationReply> HostileClient::commit(const client::Call&, CommitRequest request) {
  if (request.extents) {
    request.extents->rewind();
    for (Extent extent;;) {
      const auto more = request.extents->next(&extent);
      if (!more.ok() || !*more) break;
    }
  }
  return mutation();
}

Status HostileClient::set_lock(const client::Call&, const Lock&, LockWait) {
  if (auto error = refusal()) return *error;
  return ok();
}

Result<TestLockReply> HostileClient::test_lock(const client::Call&, const Lock&) {
  if (auto error = refusal()) return *error;
  v1::TestLockReply m;
  if (in_.flag()) make_lock(in_, m.mutable_blocker());
  m.set_same_session(in_.flag());
  return wire::from_wire(std::move(m));
}

std::optional<Revocation> HostileClient::revocation() {
  v1::RouterFrame m;
  v1::RouterFrame::Revoke* revoke = m.mutable_revoke();
  revoke->set_number(std::max<uint64_t>(in_.number(), 1));
  revoke->set_seq(in_.number());
  for (int count = in_.small(3); count > 0; --count) {
    v1::RevokedNode* node = revoke->add_nodes();
    node->set_ino(in_.ino());
    node->set_content(in_.flag());
    node->set_listing(in_.flag());
  }
  for (int count = in_.small(3); count > 0; --count) {
    v1::RevokedName* name = revoke->add_names();
    name->set_parent(in_.ino());
    name->set_name(in_.name());
  }
  revoke->set_everything(in_.small(7) == 7);
  auto frame = wire::from_wire(std::move(m));
  if (!frame.ok()) return std::nullopt;
  return std::get<Revocation>(*std::move(frame));
}

}  // namespace linkspan::fuzz
