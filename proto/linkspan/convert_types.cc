// Nodes, routes, history: what both requests and replies are made of.
#include <algorithm>

#include "linkspan/convert.h"
#include "linkspan/convert_check.h"

namespace linkspan::wire {

namespace {

// Length in bytes of the valid UTF-8 sequence at the start of `s`; 0 if there is none.
size_t utf8_length(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || s.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
  if (lead == 0xED && byte(1) > 0x9F) return 0;  // surrogates
  if (lead == 0xF0 && byte(1) < 0x90) return 0;  // overlong
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;  // past U+10FFFF
  return length;
}

bool shown_as_is(unsigned char c) {
  return c == '\t' || c == '\n' || (c >= 0x20 && c != 0x7F);
}

std::string label(std::string_view text) {
  return clean_text(text, limits::kLabelBytes);
}

}  // namespace

std::string clean_text(std::string_view text, size_t limit) {
  std::string out;
  out.reserve(std::min(text.size(), limit));
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text.substr(at));
    if (out.size() + std::max<size_t>(length, 1) > limit) break;
    if (length == 0 || !shown_as_is(static_cast<unsigned char>(text[at]))) {
      out += '?';
      ++at;
      continue;
    }
    out.append(text, at, length);
    at += length;
  }
  return out;
}

Status check_printable(std::string_view field, std::string_view text) {
  if (clean_text(text, text.size()) == text && text.find_first_of("\t\n") == text.npos) return ok();
  return bad(field, "is not all printable UTF-8");
}

Status check_name(std::string_view field, std::string_view name) {
  if (name.empty()) return bad(field, "is empty");
  if (name.size() > limits::kNameBytes)
    return fail(Code::name_too_long, std::string(field) + ": " + std::to_string(name.size()) +
                                         " bytes; a name has at most 255");
  LINKSPAN_CHECK(check_no_nul(field, name));
  if (name.find('/') != std::string_view::npos) return bad(field, "holds a '/'");
  if (name == "." || name == "..") return bad(field, "is \".\" or \"..\"");
  return ok();
}

Status check_route_path(std::string_view path) {
  LINKSPAN_CHECK(check_bytes("route.path", path.size(), 1, limits::kPathBytes));
  if (path.substr(0, path.find('/')) == ".linkspan")
    return bad("route.path", ".linkspan is the control directory");
  for (;;) {
    const size_t slash = path.find('/');
    LINKSPAN_CHECK(check_name("route.path", path.substr(0, slash)));
    if (slash == std::string_view::npos) return ok();
    path.remove_prefix(slash + 1);
  }
}

std::string_view to_string(Policy policy) {
  switch (policy) {
    case Policy::merge:
      return "merge";
    case Policy::reject:
      return "reject";
    case Policy::last_writer_wins:
      return "last-writer-wins";
  }
  return "merge";
}

Result<Policy> policy_from(std::string_view text) {
  for (Policy policy : {Policy::merge, Policy::reject, Policy::last_writer_wins})
    if (text == to_string(policy)) return policy;
  return bad("route.policy", "is none of merge, reject, last-writer-wins");
}

Result<Access> access_from(std::string_view field, uint32_t number) {
  LINKSPAN_CHECK(check_range(field, number, 0, static_cast<uint32_t>(Access::read_write)));
  return static_cast<Access>(number);
}

Result<Kind> kind_from(std::string_view field, int kind) {
  LINKSPAN_CHECK(check_range(field, static_cast<uint32_t>(kind), v1::KIND_FILE, v1::KIND_SOCKET));
  return static_cast<Kind>(kind);
}

void to_wire(const Attr& attr, v1::Attr* out) {
  out->set_ino(attr.ino.value);
  out->set_kind(static_cast<v1::Kind>(attr.kind));
  out->set_mode(attr.mode);
  out->set_uid(attr.uid);
  out->set_gid(attr.gid);
  out->set_nlink(attr.nlink);
  out->set_size(attr.size);
  out->set_allocated(attr.allocated);
  out->set_atime(attr.atime.ns);
  out->set_mtime(attr.mtime.ns);
  out->set_ctime(attr.ctime.ns);
  out->set_btime(attr.btime.ns);
  out->set_version(attr.version.value);
  out->set_seq(attr.seq.value);
  out->set_has_xattrs(attr.has_xattrs);
  out->set_parent(attr.parent.value);
  if (attr.access != Access::read_write) out->set_access(static_cast<uint32_t>(attr.access));
}

Result<Attr> from_wire(const v1::Attr& m) {
  LINKSPAN_CHECK(check_ino("attr.ino", m.ino()));
  LINKSPAN_CHECK(check_mode("attr.mode", m.mode()));
  LINKSPAN_CHECK(check_file_size("attr.size", m.size()));
  LINKSPAN_CHECK(check_range("attr.allocated", m.allocated(), 0, kMaxOffset));
  Attr attr;
  LINKSPAN_TRY(attr.kind, kind_from("attr.kind", m.kind()));
  attr.ino = Ino(m.ino());
  attr.mode = m.mode();
  attr.uid = m.uid();
  attr.gid = m.gid();
  attr.nlink = m.nlink();
  attr.size = m.size();
  attr.allocated = m.allocated();
  attr.atime = Time{m.atime()};
  attr.mtime = Time{m.mtime()};
  attr.ctime = Time{m.ctime()};
  attr.btime = Time{m.btime()};
  attr.version = Version(m.version());
  attr.seq = Seq(m.seq());
  attr.has_xattrs = m.has_xattrs();
  attr.parent = Ino(m.parent());
  if (m.has_access()) {
    LINKSPAN_TRY(attr.access, access_from("attr.access", m.access()));
  }
  return attr;
}

void to_wire(Node&& node, v1::Node* out) {
  to_wire(node.attr, out->mutable_attr());
  if (!node.target.empty()) out->set_target(std::move(node.target));
  if (!node.content) return;
  out->set_content(std::move(*node.content));
  out->set_content_version(node.attr.version.value);
}

Result<Node> from_wire(v1::Node&& m) {
  if (!m.has_attr()) return bad("node.attr", "is missing");
  Node node;
  LINKSPAN_TRY(node.attr, from_wire(m.attr()));
  if (node.attr.kind == Kind::symlink) {
    LINKSPAN_CHECK(check_target("node.target", m.target()));
    node.target = std::move(*m.mutable_target());
  } else if (!m.target().empty()) {
    return bad("node.target", "is there, but the node is no symlink");
  }
  if (!m.has_content()) return node;
  if (node.attr.kind != Kind::file) return bad("node.content", "is there, but the node is no file");
  LINKSPAN_CHECK(check_bytes("node.content", m.content().size(), 0, limits::kInlineContent));
  if (m.content().size() != node.attr.size) return bad("node.content", "is not attr.size long");
  if (m.content_version() != m.attr().version())
    return bad("node.content_version", "is not attr.version");
  node.content = std::move(*m.mutable_content());
  return node;
}

void to_wire(const Route& route, v1::Route* out) {
  out->set_path(clean_text(route.path, limits::kPathBytes));
  out->set_volume(label(route.volume));
  out->set_writable(route.writable());
  out->set_rights(static_cast<uint32_t>(route.rights));
  out->set_policy(std::string(to_string(route.policy)));
  out->set_timeout_ms(route.timeout_ms);
  out->set_root_ino(route.root.value);
  for (const PolicyPattern& pattern : route.patterns) {
    v1::PolicyPattern* to = out->add_patterns();
    to->set_glob(clean_text(pattern.glob, limits::kGlobBytes));
    if (pattern.policy) to->set_policy(std::string(to_string(*pattern.policy)));
    if (pattern.access) to->set_access(static_cast<uint32_t>(*pattern.access));
    if (pattern.no_exec) to->set_no_exec(*pattern.no_exec);
    if (pattern.max_bytes) to->set_max_bytes(*pattern.max_bytes);
    for (const std::string& glob : pattern.allowed)
      to->add_allowed(clean_text(glob, limits::kGlobBytes));
  }
  for (const std::string& reach : route.reaches) out->add_reaches(reach);
}

namespace {

Result<PolicyPattern> pattern_from(const v1::PolicyPattern& m) {
  LINKSPAN_CHECK(check_bytes("route.pattern.glob", m.glob().size(), 1, limits::kGlobBytes));
  PolicyPattern pattern{m.glob()};
  if (!m.policy().empty()) {
    LINKSPAN_TRY(pattern.policy, policy_from(m.policy()));
  }
  if (m.has_access()) {
    LINKSPAN_TRY(pattern.access, access_from("route.pattern.access", m.access()));
  }
  if (m.has_no_exec()) pattern.no_exec = m.no_exec();
  if (m.has_max_bytes()) pattern.max_bytes = m.max_bytes();
  LINKSPAN_CHECK(check_range("route.pattern.allowed", static_cast<uint64_t>(m.allowed_size()), 0,
                             limits::kAllowedNames));
  for (const std::string& glob : m.allowed()) {
    LINKSPAN_CHECK(check_bytes("route.pattern.allowed", glob.size(), 1, limits::kGlobBytes));
    pattern.allowed.push_back(glob);
  }
  return pattern;
}

}  // namespace

Result<Route> from_wire(const v1::Route& m) {
  LINKSPAN_CHECK(check_route_path(m.path()));
  LINKSPAN_CHECK(check_printable("route.path", m.path()));
  LINKSPAN_CHECK(check_bytes("route.volume", m.volume().size(), 0, limits::kLabelBytes));
  LINKSPAN_CHECK(
      check_range("route.timeout_ms", m.timeout_ms(), 1, limits::kRouteTimeoutMax.count()));
  LINKSPAN_CHECK(check_ino("route.root_ino", m.root_ino()));
  Route route;
  LINKSPAN_TRY(route.policy, policy_from(m.policy()));
  route.path = m.path();
  route.volume = label(m.volume());
  // A router of before there were others says "ro" or "rw" only.
  route.rights = m.writable() ? Access::read_write : Access::read_only;
  if (m.rights() != 0) {
    LINKSPAN_TRY(route.rights, access_from("route.rights", m.rights()));
  }
  route.timeout_ms = m.timeout_ms();
  route.root = Ino(m.root_ino());
  LINKSPAN_CHECK(check_range("route.patterns", static_cast<uint64_t>(m.patterns_size()), 0,
                             limits::kPatterns));
  for (const v1::PolicyPattern& from : m.patterns()) {
    LINKSPAN_TRY(PolicyPattern pattern, pattern_from(from));
    route.patterns.push_back(std::move(pattern));
  }
  LINKSPAN_CHECK(check_count("route.reaches", m.reaches_size(), limits::kReaches));
  for (const std::string& reach : m.reaches()) {
    LINKSPAN_CHECK(check_bytes("route.reaches", reach.size(), 1, limits::kPathBytes));
    LINKSPAN_CHECK(check_no_nul("route.reaches", reach));
    route.reaches.push_back(reach);
  }
  return route;
}

void to_wire(const OpHeader& op, v1::OpHeader* out) {
  out->set_number(op.number.value);
  out->set_answered_below(op.answered_below.value);
  out->set_retry(op.retry);
}

Result<OpHeader> from_wire(const v1::OpHeader& m) {
  if (m.number() == 0) return bad("op.number", "is missing");
  LINKSPAN_CHECK(check_number("op.number", m.number()));
  if (m.answered_below() > m.number())
    return bad("op.answered_below", "is past the operation's own number");
  return OpHeader{OpNumber(m.number()), OpNumber(m.answered_below()), m.retry()};
}

void to_wire(const Change& change, v1::Change* out) {
  out->set_seq(change.seq.value);
  out->set_what(label(change.what));
  out->set_ino(change.ino.value);
  out->set_version(change.version.value);
  out->set_volume(label(change.volume));
  out->set_path(change.path);
  out->set_old_path(change.old_path);
  out->set_principal(label(change.principal));
  out->set_sandbox(label(change.sandbox));
  out->set_session(change.session.value);
  out->set_at(change.at.ns);
  out->set_size(change.size);
}

Result<Change> from_wire(v1::Change&& m) {
  LINKSPAN_CHECK(check_no_nul("change.path", m.path()));
  LINKSPAN_CHECK(check_no_nul("change.old_path", m.old_path()));
  LINKSPAN_CHECK(check_file_size("change.size", m.size()));
  Change change;
  change.seq = Seq(m.seq());
  change.what = label(m.what());
  change.ino = Ino(m.ino());
  change.version = Version(m.version());
  change.volume = label(m.volume());
  change.path = std::move(*m.mutable_path());
  change.old_path = std::move(*m.mutable_old_path());
  change.principal = label(m.principal());
  change.sandbox = label(m.sandbox());
  change.session = SessionId(m.session());
  change.at = Time{m.at()};
  change.size = m.size();
  return change;
}

void to_wire(const VersionInfo& info, v1::VersionInfo* out) {
  out->set_version(info.version.value);
  out->set_size(info.size);
  out->set_principal(label(info.principal));
  out->set_sandbox(label(info.sandbox));
  out->set_session(info.session.value);
  out->set_at(info.at.ns);
  out->set_what(label(info.what));
  out->set_ino(info.ino.value);
}

Result<VersionInfo> from_wire(v1::VersionInfo&& m) {
  LINKSPAN_CHECK(check_file_size("version.size", m.size()));
  VersionInfo info;
  info.version = Version(m.version());
  info.size = m.size();
  info.principal = label(m.principal());
  info.sandbox = label(m.sandbox());
  info.session = SessionId(m.session());
  info.at = Time{m.at()};
  info.what = label(m.what());
  info.ino = Ino(m.ino());
  return info;
}

void to_wire(const Conflict& conflict, v1::Conflict* out) {
  out->set_number(conflict.number.value);
  out->set_what(label(conflict.what));
  out->set_volume(label(conflict.volume));
  out->set_path(conflict.path);
  out->set_ino(conflict.ino.value);
  out->set_base_ino(conflict.base_ino.value);
  out->set_base(conflict.base.value);
  out->set_head(conflict.head.value);
  out->set_theirs(conflict.theirs.value);
  out->set_size(conflict.size);
  out->set_principal(label(conflict.principal));
  out->set_sandbox(label(conflict.sandbox));
  out->set_session(conflict.session.value);
  out->set_at(conflict.at.ns);
}

Result<Conflict> from_wire(v1::Conflict&& m) {
  LINKSPAN_CHECK(check_number("conflict.number", m.number(), 1));
  LINKSPAN_CHECK(check_no_nul("conflict.path", m.path()));
  LINKSPAN_CHECK(check_ino("conflict.theirs", m.theirs()));
  LINKSPAN_CHECK(check_file_size("conflict.size", m.size()));
  Conflict conflict;
  conflict.number = Seq(m.number());
  conflict.what = label(m.what());
  conflict.volume = label(m.volume());
  conflict.path = std::move(*m.mutable_path());
  conflict.ino = Ino(m.ino());
  conflict.base_ino = Ino(m.base_ino());
  conflict.base = Version(m.base());
  conflict.head = Version(m.head());
  conflict.theirs = Ino(m.theirs());
  conflict.size = m.size();
  conflict.principal = label(m.principal());
  conflict.sandbox = label(m.sandbox());
  conflict.session = SessionId(m.session());
  conflict.at = Time{m.at()};
  return conflict;
}

}  // namespace linkspan::wire
