// Extended attributes. user.linkspan.{version,author,sandbox,session,changed} tell of the version
// that is the head; they can be read, not listed (so that cp -a and rsync -X do not try to copy
// them) and not set. POSIX ACLs are not supported.
#include <sys/xattr.h>

#include <algorithm>
#include <cstdio>

#include "linkspan/utc.h"

#include "fusefs/vfs/route_vfs.h"

namespace linkspan::vfs {
namespace {

constexpr std::string_view kHistory = "user.linkspan.";
constexpr std::string_view kAcl = "system.posix_acl_";
constexpr std::string_view kCapability = "security.capability";

bool starts_with(const std::string& name, std::string_view prefix) {
  return name.compare(0, prefix.size(), prefix) == 0;
}

// Names that are stored; the kernel checks who may set which.
Status storable(const std::string& name) {
  if (starts_with(name, kHistory))
    return fail(Code::not_permitted, name + " is told by the router and cannot be set");
  if (starts_with(name, "user.") || starts_with(name, "trusted.") || starts_with(name, "security."))
    return ok();
  return fail(Code::unsupported, "extended attributes like " + name + " are not supported");
}

Error no_attribute(const std::string& name) {
  return fail(Code::no_attribute, "there is no extended attribute " + name);
}

}  // namespace

Result<std::string> RouteVfs::history_xattr(const Doing& doing, Ino ino, const std::string& name) {
  const std::string what = name.substr(kHistory.size());
  LINKSPAN_TRY(const KnownNode known, tree_.node(doing, ino));
  const Version head = known.node.attr.version;
  if (!head) return no_attribute(name);
  if (what == "version") return std::to_string(head.value);
  if (what != "author" && what != "sandbox" && what != "session" && what != "changed")
    return no_attribute(name);
  VersionsRequest request;
  request.ino = ino;
  request.before = Version{head.value + 1};  // of the very version that `version` tells
  request.limit = 1;
  LINKSPAN_TRY(const auto versions, client_->versions(doing.call(), request));
  if (versions.empty()) return no_attribute(name);
  const VersionInfo& info = versions.front();
  if (what == "author") return info.principal;
  if (what == "sandbox") return info.sandbox;
  if (what == "changed") return utc(info.at, 9);
  char session[17];
  std::snprintf(session, sizeof session, "%016llx",
                static_cast<unsigned long long>(info.session.value));
  return std::string(session);
}

Result<std::string> RouteVfs::getxattr(const Caller& c, Ino ino, const std::string& name) {
  if (starts_with(name, kAcl)) return fail(Code::unsupported, "ACLs are not supported");
  const Doing doing = begin(c);
  if (starts_with(name, kHistory)) return history_xattr(doing, ino, name);
  // Before each write the kernel asks for security.capability: no router for that. Nor does a write
  // to a file with unsaved ones wait for a link: this was asked before the first of them.
  const auto file = name == kCapability ? files_.find(ino) : nullptr;
  if (file && file->dirty() && tree_.use() == cache::Use::nothing) return no_attribute(name);
  LINKSPAN_TRY(const KnownNode known, tree_.node(doing, ino));
  if (!known.node.attr.has_xattrs) return no_attribute(name);
  LINKSPAN_TRY(const auto xattrs, tree_.xattrs(doing, ino));
  const auto found = std::find_if(xattrs.begin(), xattrs.end(),
                                  [&](const Xattr& xattr) { return xattr.name == name; });
  if (found == xattrs.end()) return no_attribute(name);
  return found->value;
}

Result<std::vector<std::string>> RouteVfs::listxattr(const Caller& c, Ino ino) {
  const Doing doing = begin(c);
  std::vector<std::string> names;
  LINKSPAN_TRY(const KnownNode known, tree_.node(doing, ino));
  if (!known.node.attr.has_xattrs) return names;
  LINKSPAN_TRY(const auto xattrs, tree_.xattrs(doing, ino));
  for (const Xattr& xattr : xattrs) names.push_back(xattr.name);
  return names;
}

Status RouteVfs::change_xattr(const Caller& c, SetXattrRequest request) {
  LINKSPAN_CHECK(storable(request.name));
  LINKSPAN_CHECK(writable());
  const cache::Ticket ticket = tree_.ticket();
  const Ino ino = request.ino;
  OpNumber operation;
  auto answer = client_->set_xattr(begin(c).call(&operation), std::move(request));
  unless_heard(operation, {}, {}, {{ino, false, false}});
  LINKSPAN_TRY(const MutationReply reply, std::move(answer));
  tree_.changed(ticket, reply);
  return ok();
}

Status RouteVfs::setxattr(const Caller& c, Ino ino, const std::string& name, std::string value,
                          int flags) {
  if (name.size() > limits::kXattrNameBytes)
    return fail(Code::invalid, "names of extended attributes have at most 255 bytes");
  if (name.find('.') == name.size() - 1)
    return fail(Code::invalid, "'" + name + "' is a namespace without a name in it");
  if (value.size() > limits::kXattrValueBytes)
    return fail(Code::attribute_too_big, "extended attributes have at most 64 KiB");
  SetXattrRequest request;
  request.ino = ino;
  request.name = name;
  request.value = std::move(value);
  request.create = (flags & XATTR_CREATE) != 0;
  request.replace = (flags & XATTR_REPLACE) != 0;
  return change_xattr(c, std::move(request));
}

Status RouteVfs::removexattr(const Caller& c, Ino ino, const std::string& name) {
  SetXattrRequest request;
  request.ino = ino;
  request.name = name;
  return change_xattr(c, std::move(request));
}

}  // namespace linkspan::vfs
