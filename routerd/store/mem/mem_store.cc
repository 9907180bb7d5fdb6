// Tenancy, sessions and tokens.
#include "routerd/store/mem/mem_store.h"

#include <algorithm>

namespace linkspan::store {

std::unique_ptr<Store> make_mem_store() {
  return std::make_unique<mem::MemStore>();
}

namespace mem {
namespace {

constexpr uint32_t kRootMode = 0755;

}  // namespace

Error no_tenant(const std::string& name) {
  return fail(Code::not_found, "there is no tenant '" + name + "'");
}

Tenant* MemStore::find_tenant(TenantId id) {
  const auto at = tenants_.find(id);
  return at == tenants_.end() ? nullptr : at->second.get();
}

Tenant* MemStore::find_tenant(const std::string& name) {
  for (auto& [id, tenant] : tenants_)
    if (tenant->label == name) return tenant.get();
  return nullptr;
}

Result<Tenant*> MemStore::scoped_tenant(const Scope& scope) {
  if (Tenant* tenant = find_tenant(scope.tenant)) return tenant;
  return fail(Code::stale_node, "there is no tenant " + std::to_string(scope.tenant.value));
}

Result<TenantId> MemStore::provision(const TenantSpec& spec, Time now) {
  if (spec.name.empty()) return fail(Code::invalid, "a tenant needs a name");
  for (const VolumeSpec& volume : spec.volumes)
    if (volume.name.empty()) return fail(Code::invalid, "a volume needs a name");
  const std::lock_guard lock(mutex_);
  Tenant* tenant = find_tenant(spec.name);
  if (tenant == nullptr) {
    const TenantId id{tenants_.size() + 1};
    auto made = std::make_unique<Tenant>();
    made->id = id;
    made->label = spec.name;
    tenant = tenants_.emplace(id, std::move(made)).first->second.get();
  }
  for (const VolumeSpec& volume : spec.volumes) add_volume(*tenant, volume, now);
  return tenant->id;
}

void MemStore::add_volume(Tenant& tenant, const VolumeSpec& spec, Time now) {
  auto at = std::find_if(tenant.volumes.begin(), tenant.volumes.end(),
                         [&](const auto& v) { return v.second.volume.name == spec.name; });
  if (at == tenant.volumes.end()) {
    const VolumeId id{++last_volume_};
    at = tenant.volumes.emplace(id, MemVolume{}).first;
    Volume& volume = at->second.volume;
    volume.id = id;
    volume.name = spec.name;
    volume.root = tenant.next_ino;
    tenant.next_ino = Ino{tenant.next_ino.value + 1};
    MemNode& root = tenant.nodes[volume.root];
    root.volume = id;
    root.attr.ino = root.attr.parent = volume.root;
    root.attr.kind = Kind::directory;
    root.attr.mode = kRootMode;
    root.attr.nlink = 2;
    root.attr.atime = root.attr.mtime = root.attr.ctime = root.attr.btime = now;
  }
  at->second.volume.quota_bytes = spec.quota_bytes;
  at->second.volume.quota_files = spec.quota_files;
  at->second.keep_versions = spec.keep_versions;
  at->second.keep_days = spec.keep_days;
}

Result<TenantState> MemStore::open_tenant(const std::string& name,
                                          std::chrono::milliseconds lease) {
  const std::lock_guard lock(mutex_);
  Tenant* tenant = find_tenant(name);
  if (tenant == nullptr) return no_tenant(name);
  tenant->epoch = Epoch{tenant->epoch.value + 1};
  TenantState state{tenant->id, tenant->label, tenant->epoch, tenant->last_seq, {}, tenant->lease};
  tenant->lease = std::max(tenant->lease, lease);
  for (const auto& [id, volume] : tenant->volumes) state.volumes.push_back(volume.volume);
  return state;
}

Result<Ino> MemStore::reserve_inodes(TenantId id, uint32_t count) {
  if (count == 0) return fail(Code::invalid, "no inode numbers were asked for");
  const std::lock_guard lock(mutex_);
  Tenant* tenant = find_tenant(id);
  if (tenant == nullptr) return no_tenant(std::to_string(id.value));
  const Ino first = tenant->next_ino;
  tenant->next_ino = Ino{first.value + count};
  return first;
}

// It ends with its process: no other router can own anything in it.
Result<bool> MemStore::is_served(const std::string&, std::chrono::milliseconds) {
  return false;
}

Status MemStore::check_owner(TenantId id, Epoch epoch) {
  const Tenant* tenant = find_tenant(id);
  if (tenant == nullptr) return no_tenant(std::to_string(id.value));
  if (tenant->epoch == epoch) return ok();
  return fail(Code::fenced, "tenant '" + tenant->label + "' is owned by another router now");
}

Result<std::vector<Status>> MemStore::beat(const std::vector<Ownership>& owned) {
  const std::lock_guard lock(mutex_);
  std::vector<Status> answers;
  for (const Ownership& own : owned) {
    answers.push_back(check_owner(own.tenant, own.epoch));
    if (answers.back().ok()) find_tenant(own.tenant)->lease = own.lease;
  }
  return answers;
}

Status MemStore::put_session(const SessionRecord& session, Epoch epoch) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_CHECK(check_owner(session.tenant, epoch));
  sessions_[session.id] = session;
  return ok();
}

Result<SessionRecord> MemStore::find_session(SessionId id) {
  const std::lock_guard lock(mutex_);
  const auto at = sessions_.find(id);
  if (at == sessions_.end()) return fail(Code::not_found, "there is no such session");
  return at->second;
}

Result<std::vector<SessionRecord>> MemStore::live_sessions(TenantId tenant) {
  const std::lock_guard lock(mutex_);
  std::vector<SessionRecord> out;
  for (const auto& [id, session] : sessions_)
    if (session.tenant == tenant) out.push_back(session);
  return out;
}

Status MemStore::end_session(TenantId tenant, SessionId id, Epoch epoch) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_CHECK(check_owner(tenant, epoch));
  sessions_.erase(id);
  find_tenant(tenant)->results.erase(id);
  return ok();
}

}  // namespace mem
}  // namespace linkspan::store
