#include "fusefs/fuse/control_fs.h"

#include <fcntl.h>

#include <cerrno>
#include <ctime>

#include "fusefs/fuse/control_operations.h"
#include "fusefs/fuse/dir_buffer.h"

namespace linkspan::fuse {

namespace {
// The tree never changes; mounts stand on its directories, and a mountpoint whose name the kernel
// gives up takes the mount with it.
constexpr double kForever = 365 * 86400.0;  // seconds
}  // namespace

ControlTree::ControlTree() : nodes_(1) {}

size_t ControlTree::make(const std::string& path) {
  size_t at = 0;
  for (size_t begin = 0; begin < path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    std::string name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty()) continue;
    auto [it, is_new] = nodes_[at].children.emplace(name, nodes_.size());
    size_t child = it->second;
    if (is_new) {
      nodes_.emplace_back();  // `it` stays valid only until here: the vector moves
      nodes_[child].parent = at;
    }
    at = child;
  }
  return at;
}

void ControlTree::add_directory(const std::string& path, bool writable_mode) {
  Node& node = nodes_[make(path)];
  node.type = Type::directory;
  node.writable_mode = writable_mode;
}

void ControlTree::add_file(const std::string& path, Content content) {
  Node& node = nodes_[make(path)];
  node.type = Type::file;
  node.content = std::move(content);
}

void ControlTree::add_symlink(const std::string& path, const std::string& target) {
  Node& node = nodes_[make(path)];
  node.type = Type::symlink;
  node.target = target;
}

void ControlTree::add_query(const std::string& path, Query query, Content help) {
  Node& node = nodes_[make(path)];
  node.type = Type::query;
  node.query = std::move(query);
  node.content = std::move(help);
}

void ControlTree::add_live(const std::string& path, std::shared_ptr<LiveFolders> folders) {
  live_ = make(path);
  nodes_[live_].type = Type::live;
  nodes_[live_].live = std::move(folders);
}

ControlOperations::ControlOperations(ControlTree tree, ControlOptions options)
    : tree_(std::move(tree)), options_(options) {
  clock_gettime(CLOCK_REALTIME, &started_);
  fill_table();
}

void ControlOperations::configure(fuse_conn_info* info) {
  info->want |=
      info->capable & (FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
}

double ControlOperations::attr_timeout(fuse_ino_t ino) const {
  const Type type = node(ino).type;
  return type == Type::file || type == Type::query ? 0 : kForever;
}

struct stat ControlOperations::plain_stat(fuse_ino_t ino, mode_t mode, uint64_t size) const {
  struct stat st = {};
  st.st_ino = ino;
  st.st_mode = mode;
  st.st_uid = options_.uid;
  st.st_gid = options_.gid;
  st.st_blksize = 4096;
  st.st_nlink = S_ISDIR(mode) ? 2 : 1;
  st.st_size = static_cast<off_t>(size);
  st.st_blocks = (st.st_size + 511) / 512;
  st.st_atim = st.st_mtim = st.st_ctim = started_;
  return st;
}

struct stat ControlOperations::stat_of(fuse_ino_t ino) const {
  const Node& n = node(ino);
  struct stat st = {};
  switch (n.type) {
    case Type::live:
      return plain_stat(ino, S_IFDIR | 0555, 0);
    case Type::directory:
      st = plain_stat(ino, S_IFDIR | (n.writable_mode ? 0755 : 0555), 0);
      for (const auto& [name, child] : n.children) {
        const Type type = tree_.nodes_[child].type;
        if (type == Type::directory || type == Type::live) ++st.st_nlink;
      }
      return st;
    case Type::file:
      st = plain_stat(ino, S_IFREG | 0444, n.content().size());
      break;
    case Type::query:
      st = plain_stat(ino, S_IFREG | 0666, n.content().size());
      break;
    case Type::symlink:
      return plain_stat(ino, S_IFLNK | 0777, n.target.size());
  }
  clock_gettime(CLOCK_REALTIME, &st.st_mtim);
  st.st_ctim = st.st_mtim;
  return st;
}

fuse_entry_param ControlOperations::entry_of(fuse_ino_t ino) const {
  fuse_entry_param entry = {};
  entry.ino = ino;
  entry.attr = stat_of(ino);
  entry.entry_timeout = kForever;
  entry.attr_timeout = attr_timeout(ino);
  return entry;
}

void ControlOperations::on_lookup(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  serve(raw, "control lookup", [&](Request& r) {
    auto& o = of(r);
    if (o.is_live(parent)) {
      if (const Turn turn(o.slow_, kSlowRequests); turn)
        o.live_lookup(r, parent, name);
      else
        r.error(EBUSY);
      return;
    }
    const auto& children = o.node(parent).children;
    auto it = children.find(name);
    if (it == children.end())
      r.error(ENOENT);
    else
      r.entry(o.entry_of(ino_of(it->second)));
  });
}

void ControlOperations::on_getattr(fuse_req_t raw, fuse_ino_t ino, fuse_file_info*) {
  serve(raw, "control getattr", [&](Request& r) {
    auto& o = of(r);
    if (!live_of(ino) || !o.is_live(ino))
      r.attributes(o.stat_of(ino), o.attr_timeout(ino));
    else if (const Turn turn(o.slow_, kSlowRequests); turn)
      o.live_getattr(r, ino);
    else
      r.error(EBUSY);
  });
}

std::unique_ptr<ControlHandle> ControlOperations::open(fuse_ino_t ino, int flags, int* error) {
  const Node& n = node(ino);
  const int access = flags & O_ACCMODE;
  if (n.type == Type::query && access == O_RDWR) {
    if (queries_.fetch_add(1) < kQueryHandles)
      return std::make_unique<QueryHandle>(&n.query, &queries_, &slow_);
    queries_.fetch_sub(1);
    *error = EBUSY;
    return nullptr;
  }
  *error = n.type == Type::query ? EINVAL : EROFS;  // a query has to be read, too
  if (access != O_RDONLY || (flags & O_TRUNC)) return nullptr;
  return std::make_unique<TextHandle>(n.content());
}

void ControlOperations::give(Request& r, std::unique_ptr<ControlHandle> handle) {
  fuse_file_info reply = {};
  reply.fh = reinterpret_cast<uintptr_t>(handle.get());
  reply.direct_io = 1;  // the size at stat does not cut what is read; no page outlives the handle
  reply.noflush = 1;
  ControlHandle* const opened = handle.get();
  keep(std::move(handle));
  if (!r.opened(reply)) drop(opened);
}

void ControlOperations::keep(std::unique_ptr<ControlHandle> handle) {
  const std::lock_guard lock(handles_mutex_);
  handles_.emplace(handle.get(), std::move(handle));
}

void ControlOperations::drop(ControlHandle* handle) {
  const std::lock_guard lock(handles_mutex_);
  handles_.erase(handle);
}

void ControlOperations::on_open(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file) {
  serve(raw, "control open", [&](Request& r) {
    auto& o = of(r);
    if (o.is_live(ino)) {
      if (const Turn turn(o.slow_, kSlowRequests); turn)
        o.live_open(r, ino, file->flags);
      else
        r.error(EBUSY);
      return;
    }
    int error = 0;
    auto handle = o.open(ino, file->flags, &error);
    if (handle)
      o.give(r, std::move(handle));
    else
      r.error(error);
  });
}

void ControlOperations::on_read(fuse_req_t raw, fuse_ino_t, size_t size, off_t offset,
                                fuse_file_info* file) {
  serve(raw, "control read", [&](Request& r) {
    reinterpret_cast<ControlHandle*>(file->fh)->read(r, static_cast<uint64_t>(offset), size);
  });
}

void ControlOperations::on_write(fuse_req_t raw, fuse_ino_t, const char* data, size_t size,
                                 off_t offset, fuse_file_info* file) {
  serve(raw, "control write", [&](Request& r) {
    reinterpret_cast<ControlHandle*>(file->fh)->write(r, static_cast<uint64_t>(offset),
                                                      std::string_view(data, size));
  });
}

void ControlOperations::on_release(fuse_req_t raw, fuse_ino_t, fuse_file_info* file) {
  serve(raw, "control release", [&](Request& r) {
    of(r).drop(reinterpret_cast<ControlHandle*>(file->fh));
    r.done();
  });
}

void ControlOperations::list(Request& r, fuse_ino_t ino, size_t size, off_t offset, bool plus) {
  auto& o = of(r);
  if (o.is_live(ino)) {
    if (const Turn turn(o.slow_, kSlowRequests); turn)
      o.live_list(r, ino, size, static_cast<uint64_t>(offset), plus);
    else
      r.error(EBUSY);
    return;
  }
  const Node& n = o.node(ino);
  std::vector<std::pair<std::string, fuse_ino_t>> entries{{".", ino}, {"..", ino_of(n.parent)}};
  for (const auto& [name, child] : n.children) entries.emplace_back(name, ino_of(child));
  DirBuffer buffer(r.raw(), size, plus);
  for (size_t i = static_cast<size_t>(offset); i < entries.size(); ++i) {
    fuse_entry_param entry = o.entry_of(entries[i].second);
    if (i < 2) entry.ino = 0;
    if (!buffer.add(entries[i].first, entry, i + 1)) break;
  }
  r.bytes(buffer.data());
}

void ControlOperations::fill_table() {
  table_.lookup = on_lookup;
  table_.getattr = on_getattr;
  table_.open = on_open;
  table_.read = on_read;
  table_.write = on_write;
  table_.release = on_release;
  table_.readlink = [](fuse_req_t raw, fuse_ino_t ino) {
    serve(raw, "control readlink", [&](Request& r) { r.link_target(of(r).node(ino).target); });
  };
  table_.readdir = [](fuse_req_t raw, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info*) {
    serve(raw, "control readdir", [&](Request& r) { list(r, ino, size, offset, false); });
  };
  table_.readdirplus = [](fuse_req_t raw, fuse_ino_t ino, size_t size, off_t offset,
                          fuse_file_info*) {
    serve(raw, "control readdirplus", [&](Request& r) { list(r, ino, size, offset, true); });
  };
  table_.statfs = [](fuse_req_t raw, fuse_ino_t) {
    serve(raw, "control statfs", [&](Request& r) {
      struct statvfs st = {};
      st.f_bsize = st.f_frsize = 4096;
      st.f_files = of(r).tree_.nodes_.size();
      st.f_namemax = 255;
      r.filesystem(st);
    });
  };
  refuse_changes();
}

// Without these the kernel would say ENOSYS, which names nothing.
void ControlOperations::refuse_changes() {
  table_.setattr = [](fuse_req_t raw, fuse_ino_t, struct stat*, int, fuse_file_info*) {
    fuse_reply_err(raw, EROFS);
  };
  table_.mknod = [](fuse_req_t raw, fuse_ino_t, const char*, mode_t, dev_t) {
    fuse_reply_err(raw, EROFS);
  };
  table_.mkdir = [](fuse_req_t raw, fuse_ino_t, const char*, mode_t) {
    fuse_reply_err(raw, EROFS);
  };
  table_.unlink = [](fuse_req_t raw, fuse_ino_t, const char*) { fuse_reply_err(raw, EROFS); };
  table_.rmdir = [](fuse_req_t raw, fuse_ino_t, const char*) { fuse_reply_err(raw, EROFS); };
  table_.symlink = [](fuse_req_t raw, const char*, fuse_ino_t, const char*) {
    fuse_reply_err(raw, EROFS);
  };
  table_.rename = [](fuse_req_t raw, fuse_ino_t, const char*, fuse_ino_t, const char*, unsigned) {
    fuse_reply_err(raw, EROFS);
  };
  table_.link = [](fuse_req_t raw, fuse_ino_t, fuse_ino_t, const char*) {
    fuse_reply_err(raw, EROFS);
  };
  table_.create = [](fuse_req_t raw, fuse_ino_t, const char*, mode_t, fuse_file_info*) {
    fuse_reply_err(raw, EROFS);
  };
}

std::unique_ptr<Operations> make_control_operations(ControlTree tree, ControlOptions options) {
  return std::make_unique<ControlOperations>(std::move(tree), options);
}

}  // namespace linkspan::fuse
