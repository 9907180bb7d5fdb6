#include "routerd/store/mem/tree.h"

#include <algorithm>

#include "linkspan/limits.h"

namespace linkspan::store::mem {
namespace {

bool has_volume(const std::vector<VolumeId>& volumes, VolumeId id) {
  return std::find(volumes.begin(), volumes.end(), id) != volumes.end();
}

void forget_name(MemNode& node, Ino parent, const std::string& name) {
  const auto at = std::find(node.names.begin(), node.names.end(), std::pair(parent, name));
  if (at != node.names.end()) node.names.erase(at);
}

void learn_name(MemNode& node, Ino parent, const std::string& name) {
  node.names.emplace_back(parent, name);
  if (node.is_directory()) node.attr.parent = parent;
}

}  // namespace

Result<MemNode*> Tenant::find(const Scope& scope, Ino ino) {
  const auto at = nodes.find(ino);
  if (at == nodes.end() || !(has_volume(scope.readable, at->second.volume) ||
                             has_volume(scope.writable, at->second.volume)))
    return fail(Code::stale_node, "there is no node " + std::to_string(ino.value));
  return &at->second;
}

Result<MemNode*> Tenant::find_directory(const Scope& scope, Ino ino) {
  LINKSPAN_TRY(MemNode * node, find(scope, ino));
  if (!node->is_directory())
    return fail(Code::not_directory, "node " + std::to_string(ino.value) + " is no directory");
  return node;
}

MemNode* Tenant::child(MemNode& dir, const std::string& name) {
  const auto at = dir.entries.find(name);
  return at == dir.entries.end() ? nullptr : &nodes.at(at->second.ino);
}

MemNode* Tenant::successor(const MemNode& node) {
  if (!node.replaced_by) return nullptr;
  for (auto& [ino, other] : nodes)
    if (other.line == node.line && other.attr.nlink > 0) return &other;
  return nullptr;
}

std::string Tenant::path_of(const MemNode& node) const {
  // Step by step: a tree may be deeper than the stack.
  std::vector<const std::string*> names;
  for (const MemNode* at = &node; !at->names.empty(); at = &nodes.at(at->names.front().first))
    names.push_back(&at->names.front().second);
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!path.empty()) path += '/';
    path += **name;
  }
  return path;
}

std::string Tenant::path_of(const MemNode& dir, const std::string& name) const {
  const std::string above = path_of(dir);
  return above.empty() ? name : above + "/" + name;
}

bool Tenant::is_within(const MemNode& dir, const MemNode& node) const {
  for (const MemNode* at = &dir;; at = &nodes.at(at->attr.parent)) {
    if (at->attr.ino == node.attr.ino) return true;
    if (at->names.empty()) return false;
  }
}

void Tenant::add_name(MemNode& dir, const std::string& name, MemNode& node) {
  dir.last_cookie = Cookie{dir.last_cookie.value + 1};
  dir.entries[name] = Entry{node.attr.ino, dir.last_cookie};
  dir.order[dir.last_cookie] = name;
  learn_name(node, dir.attr.ino, name);
}

void Tenant::remove_name(MemNode& dir, const std::string& name, MemNode& node) {
  const auto at = dir.entries.find(name);
  dir.order.erase(at->second.cookie);
  dir.entries.erase(at);
  forget_name(node, dir.attr.ino, name);
}

void Tenant::replace_name(MemNode& dir, const std::string& name, MemNode& old_node, MemNode& node) {
  dir.entries.at(name).ino = node.attr.ino;
  forget_name(old_node, dir.attr.ino, name);
  learn_name(node, dir.attr.ino, name);
}

Status check_writable(const Scope& scope, const MemNode& node) {
  if (has_volume(scope.writable, node.volume)) return ok();
  return fail(Code::read_only, "the volume of node " + std::to_string(node.attr.ino.value) +
                                   " is read-only for this session");
}

Status check_has_content(const MemNode& node) {
  if (node.is_file()) return ok();
  const std::string what = "node " + std::to_string(node.attr.ino.value);
  if (node.is_directory()) return fail(Code::is_directory, what + " is a directory");
  return fail(Code::invalid, what + " has no content");
}

Result<const Record*> find_version(const MemNode& node, Version version) {
  LINKSPAN_CHECK(check_has_content(node));
  const Version wanted = version ? version : node.attr.version;
  for (const Record& record : node.history)
    if (record.info.version == wanted) return &record;
  return fail(Code::not_found, "node " + std::to_string(node.attr.ino.value) + " has no version " +
                                   std::to_string(wanted.value));
}

Node to_node(const MemNode& node, bool want_content) {
  Node out{node.attr, node.target, std::nullopt};
  if (want_content && node.is_file() && node.attr.size <= limits::kInlineContent)
    out.content = node.head().read(0, node.attr.size);
  return out;
}

}  // namespace linkspan::store::mem
