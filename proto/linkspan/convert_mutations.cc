// Mutations: their requests, a commit's parts, their result.
#include "linkspan/convert.h"
#include "linkspan/convert_check.h"

namespace linkspan::wire {

void to_wire(const CreateRequest& request, v1::CreateRequest* out) {
  to_wire(request.op, out->mutable_op());
  out->set_parent(request.parent.value);
  out->set_name(request.name);
  out->set_kind(static_cast<v1::Kind>(request.kind));
  out->set_mode(request.mode);
  out->set_uid(request.uid);
  out->set_gid(request.gid);
  if (!request.target.empty()) out->set_target(request.target);
  out->set_exclusive(request.exclusive);
}

Result<CreateRequest> from_wire(const v1::CreateRequest& m) {
  CreateRequest request;
  LINKSPAN_TRY(request.op, from_wire(m.op()));
  LINKSPAN_CHECK(check_ino("parent", m.parent()));
  LINKSPAN_CHECK(check_name("name", m.name()));
  LINKSPAN_TRY(request.kind, kind_from("kind", m.kind()));
  LINKSPAN_CHECK(check_mode("mode", m.mode()));
  LINKSPAN_CHECK(check_owner("uid", m.uid()));
  LINKSPAN_CHECK(check_owner("gid", m.gid()));
  if (request.kind == Kind::symlink) {
    LINKSPAN_CHECK(check_target("target", m.target()));
  } else if (!m.target().empty()) {
    return bad("target", "is there, but the kind is not symlink");
  }
  request.parent = Ino(m.parent());
  request.name = m.name();
  request.mode = m.mode();
  request.uid = m.uid();
  request.gid = m.gid();
  request.target = m.target();
  request.exclusive = m.exclusive();
  return request;
}

void to_wire(const RemoveRequest& request, v1::RemoveRequest* out) {
  to_wire(request.op, out->mutable_op());
  out->set_parent(request.parent.value);
  out->set_name(request.name);
  out->set_directory(request.directory);
}

Result<RemoveRequest> from_wire(const v1::RemoveRequest& m) {
  LINKSPAN_TRY(OpHeader op, from_wire(m.op()));
  LINKSPAN_CHECK(check_ino("parent", m.parent()));
  LINKSPAN_CHECK(check_name("name", m.name()));
  return RemoveRequest{op, Ino(m.parent()), m.name(), m.directory()};
}

void to_wire(const RenameRequest& request, v1::RenameRequest* out) {
  to_wire(request.op, out->mutable_op());
  out->set_from_parent(request.from_parent.value);
  out->set_from_name(request.from_name);
  out->set_to_parent(request.to_parent.value);
  out->set_to_name(request.to_name);
  out->set_no_replace(request.no_replace);
  out->set_exchange(request.exchange);
  out->set_base_ino(request.base_ino.value);
  out->set_base_version(request.base_version.value);
}

Result<RenameRequest> from_wire(const v1::RenameRequest& m) {
  RenameRequest request;
  LINKSPAN_TRY(request.op, from_wire(m.op()));
  LINKSPAN_CHECK(check_ino("from_parent", m.from_parent()));
  LINKSPAN_CHECK(check_name("from_name", m.from_name()));
  LINKSPAN_CHECK(check_ino("to_parent", m.to_parent()));
  LINKSPAN_CHECK(check_name("to_name", m.to_name()));
  LINKSPAN_CHECK(check_number("base_version", m.base_version()));
  LINKSPAN_CHECK(check_number("base_ino", m.base_ino()));
  if (m.no_replace() && m.exchange()) return bad("exchange", "together with no_replace");
  request.from_parent = Ino(m.from_parent());
  request.from_name = m.from_name();
  request.to_parent = Ino(m.to_parent());
  request.to_name = m.to_name();
  request.no_replace = m.no_replace();
  request.exchange = m.exchange();
  request.base_ino = Ino(m.base_ino());
  request.base_version = Version(m.base_version());
  return request;
}

void to_wire(const LinkRequest& request, v1::LinkRequest* out) {
  to_wire(request.op, out->mutable_op());
  out->set_ino(request.ino.value);
  out->set_parent(request.parent.value);
  out->set_name(request.name);
}

Result<LinkRequest> from_wire(const v1::LinkRequest& m) {
  LINKSPAN_TRY(OpHeader op, from_wire(m.op()));
  LINKSPAN_CHECK(check_ino("ino", m.ino()));
  LINKSPAN_CHECK(check_ino("parent", m.parent()));
  LINKSPAN_CHECK(check_name("name", m.name()));
  return LinkRequest{op, Ino(m.ino()), Ino(m.parent()), m.name()};
}

void to_wire(const SetAttrRequest& request, v1::SetAttrRequest* out) {
  to_wire(request.op, out->mutable_op());
  out->set_ino(request.ino.value);
  if (request.mode) out->set_mode(*request.mode);
  if (request.uid) out->set_uid(*request.uid);
  if (request.gid) out->set_gid(*request.gid);
  if (request.size) out->set_size(*request.size);
  if (request.atime) out->set_atime(request.atime->ns);
  if (request.mtime) out->set_mtime(request.mtime->ns);
  out->set_atime_now(request.atime_now);
  out->set_mtime_now(request.mtime_now);
  out->set_relaxed(request.relaxed);
}

Result<SetAttrRequest> from_wire(const v1::SetAttrRequest& m) {
  SetAttrRequest request;
  LINKSPAN_TRY(request.op, from_wire(m.op()));
  LINKSPAN_CHECK(check_ino("ino", m.ino()));
  if (m.has_mode()) LINKSPAN_CHECK(check_mode("mode", m.mode()));
  if (m.has_uid()) LINKSPAN_CHECK(check_owner("uid", m.uid()));
  if (m.has_gid()) LINKSPAN_CHECK(check_owner("gid", m.gid()));
  if (m.has_size()) LINKSPAN_CHECK(check_file_size("size", m.size()));
  request.ino = Ino(m.ino());
  if (m.has_mode()) request.mode = m.mode();
  if (m.has_uid()) request.uid = m.uid();
  if (m.has_gid()) request.gid = m.gid();
  if (m.has_size()) request.size = m.size();
  if (m.has_atime()) request.atime = Time{m.atime()};
  if (m.has_mtime()) request.mtime = Time{m.mtime()};
  request.atime_now = m.atime_now();
  request.mtime_now = m.mtime_now();
  request.relaxed = m.relaxed();
  return request;
}

void to_wire(const SetXattrRequest& request, v1::SetXattrRequest* out) {
  to_wire(request.op, out->mutable_op());
  out->set_ino(request.ino.value);
  out->set_name(request.name);
  if (request.value) out->set_value(*request.value);
  out->set_create(request.create);
  out->set_replace(request.replace);
}

Result<SetXattrRequest> from_wire(const v1::SetXattrRequest& m) {
  SetXattrRequest request;
  LINKSPAN_TRY(request.op, from_wire(m.op()));
  LINKSPAN_CHECK(check_ino("ino", m.ino()));
  LINKSPAN_CHECK(check_xattr_name("name", m.name()));
  LINKSPAN_CHECK(check_bytes("value", m.value().size(), 0, limits::kXattrValueBytes));
  if (m.create() && m.replace()) return bad("replace", "together with create");
  request.ino = Ino(m.ino());
  request.name = m.name();
  if (m.has_value()) request.value = m.value();
  request.create = m.create();
  request.replace = m.replace();
  return request;
}

void to_wire(const SettleRequest& request, v1::SettleRequest* out) {
  to_wire(request.op, out->mutable_op());
  out->set_number(request.number.value);
}

Result<SettleRequest> from_wire(const v1::SettleRequest& m) {
  LINKSPAN_TRY(OpHeader op, from_wire(m.op()));
  LINKSPAN_CHECK(check_number("number", m.number(), 1));
  return SettleRequest{op, Seq(m.number())};
}

void to_wire(OpNumber number, v1::GiveUpRequest* out) {
  out->set_number(number.value);
}

Result<OpNumber> from_wire(const v1::GiveUpRequest& m) {
  LINKSPAN_CHECK(check_number("number", m.number(), 1));
  return OpNumber(m.number());
}

void to_wire(Seq seq, v1::GiveUpReply* out) {
  out->set_seq(seq.value);
}

Result<Seq> from_wire(v1::GiveUpReply&& m) {
  return Seq(m.seq());
}

// ---- commits -----------------------------------------------------------------------------------

void to_wire(const CommitRequest& request, v1::CommitPart::Head* out) {
  to_wire(request.op, out->mutable_op());
  out->set_ino(request.ino.value);
  if (request.base) out->set_base_version(request.base->value);
  out->set_base_ino(request.base_ino.value);
  out->set_keep_below(request.keep_below);
  out->set_size(request.size);
  out->set_append(request.append);
  out->set_mtime(request.mtime.ns);
  out->set_keep_mtime(request.keep_mtime);
  out->set_follow(request.follow);
}

Result<CommitRequest> from_wire(const v1::CommitPart::Head& m) {
  CommitRequest request;
  LINKSPAN_TRY(request.op, from_wire(m.op()));
  LINKSPAN_CHECK(check_ino("head.ino", m.ino()));
  LINKSPAN_CHECK(check_number("head.base_version", m.base_version()));
  LINKSPAN_CHECK(check_number("head.base_ino", m.base_ino()));
  LINKSPAN_CHECK(check_file_size("head.size", m.size()));
  request.ino = Ino(m.ino());
  if (m.has_base_version()) request.base = Version(m.base_version());
  request.base_ino = Ino(m.base_ino());
  request.keep_below = m.keep_below();
  request.size = m.size();
  request.append = m.append();
  request.mtime = Time{m.mtime()};
  request.keep_mtime = m.keep_mtime();
  request.follow = m.follow();
  return request;
}

void add_extent(Extent&& extent, v1::CommitPart* part) {
  v1::Extent* m = part->add_extents();
  m->set_offset(extent.offset);
  m->set_length(extent.length);
  if (!extent.data.empty()) m->set_data(std::move(extent.data));
}

Status ExtentReader::check(const v1::Extent& m) const {
  if (m.length() == 0) return bad("extents.length", "is 0");
  if (!m.data().empty() && m.data().size() != m.length())
    return bad("extents.data", "is not `length` long");
  LINKSPAN_CHECK(check_bytes("extents.data", m.data().size(), 0, limits::kExtentBytes));
  LINKSPAN_CHECK(check_file_size("extents.offset", m.offset()));
  LINKSPAN_CHECK(check_file_size("extents.length", m.length()));
  LINKSPAN_CHECK(check_file_size("extents", m.offset() + m.length()));
  if (m.offset() < end_) return bad("extents.offset", "overlaps or precedes the extent before it");
  return ok();
}

Status ExtentReader::take(v1::CommitPart&& part, std::vector<Extent>* out) {
  LINKSPAN_CHECK(check_count("extents", part.extents_size(), limits::kExtentsPerPart));
  for (v1::Extent& m : *part.mutable_extents()) {
    LINKSPAN_CHECK(check(m));
    end_ = m.offset() + m.length();
    out->push_back({m.offset(), m.length(), std::move(*m.mutable_data())});
  }
  return ok();
}

// ---- results -----------------------------------------------------------------------------------

void to_wire(MutationReply&& reply, v1::MutationReply* out) {
  out->set_seq(reply.seq.value);
  for (Node& node : reply.nodes) to_wire(std::move(node), out->add_nodes());
  out->set_offset(reply.offset);
  out->set_merged(reply.merged);
  out->set_as_of(reply.as_of.value);
  out->set_created(reply.created);
  out->set_version(reply.version.value);
  out->set_unmerged(reply.unmerged.value);
}

Result<MutationReply> from_wire(v1::MutationReply&& m) {
  LINKSPAN_CHECK(check_count("nodes", m.nodes_size(), limits::kMutationNodes));
  LINKSPAN_CHECK(check_file_size("offset", m.offset()));
  MutationReply reply;
  for (v1::Node& wire_node : *m.mutable_nodes()) {
    LINKSPAN_TRY(Node node, from_wire(std::move(wire_node)));
    reply.nodes.push_back(std::move(node));
  }
  reply.seq = Seq(m.seq());
  reply.offset = m.offset();
  reply.merged = m.merged();
  reply.as_of = Seq{m.as_of()};
  reply.created = m.created();
  reply.version = Version(m.version());
  reply.unmerged = Version(m.unmerged());
  return reply;
}

}  // namespace linkspan::wire
