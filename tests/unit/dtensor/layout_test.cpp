#include "titan/dtensor/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace titan::dtensor {
namespace {

// What every rank of the mesh has, one list of indices each.
std::vector<std::vector<int64_t>> indices_of_all(const Placements& placements, const std::vector<int64_t>& mesh,
                                                 int64_t size) {
  std::vector<std::vector<int64_t>> all;
  std::vector<int64_t> coordinates(mesh.size(), 0);
  while (true) {
    std::vector<int64_t> mine;
    for (const Segment& segment : local_segments(placements, mesh, coordinates, 0, size)) {
      for (int64_t i = 0; i < segment.size; ++i) mine.push_back(segment.offset + i);
    }
    all.push_back(mine);
    auto axis = static_cast<int64_t>(mesh.size()) - 1;
    while (axis >= 0 && ++coordinates[axis] == mesh[axis]) coordinates[axis--] = 0;
    if (axis < 0) return all;
  }
}

using Lists = std::vector<std::vector<int64_t>>;

TEST(Layout, ShardsAreThoseOfTorchChunk) {
  EXPECT_EQ(indices_of_all({shard(0)}, {3}, 7), (Lists{{0, 1, 2}, {3, 4, 5}, {6}}));
  EXPECT_EQ(indices_of_all({shard(0)}, {4}, 5), (Lists{{0, 1}, {2, 3}, {4}, {}}));
  EXPECT_EQ(indices_of_all({shard(0)}, {3}, 1), (Lists{{0}, {}, {}}));
  EXPECT_EQ(indices_of_all({shard(0)}, {2}, 0), (Lists{{}, {}}));
  EXPECT_EQ(indices_of_all({shard(1)}, {2}, 2), (Lists{{0, 1}, {0, 1}}));
}

TEST(Layout, TheOuterAxisSplitsFirst) {
  EXPECT_EQ(indices_of_all({shard(0), shard(0)}, {2, 2}, 8), (Lists{{0, 1}, {2, 3}, {4, 5}, {6, 7}}));
  EXPECT_EQ(indices_of_all({shard(0), shard(0)}, {2, 2}, 5), (Lists{{0, 1}, {2}, {3}, {4}}));
}

// dp_shard over tp: the rank (dp, tp) has part dp of what tensor parallelism gave to tp.
TEST(Layout, AStridedShardComesAfterTheShardsItIsStridedOver) {
  EXPECT_EQ(indices_of_all({strided_shard(0, 2), shard(0)}, {2, 2}, 8), (Lists{{0, 1}, {4, 5}, {2, 3}, {6, 7}}));
  EXPECT_EQ(indices_of_all({strided_shard(0, 2), shard(0)}, {2, 2}, 5), (Lists{{0, 1}, {3}, {2}, {4}}));
  EXPECT_EQ(sharding_order({strided_shard(0, 2), shard(0)}, {2, 2}, 0).back().axis, 0);
}

// Without them, it has a piece of each part: what is left when tp is gathered.
TEST(Layout, AStridedShardAloneHasAPieceOfEachPart) {
  EXPECT_EQ(indices_of_all({strided_shard(0, 2)}, {2}, 8), (Lists{{0, 1, 4, 5}, {2, 3, 6, 7}}));
  EXPECT_EQ(indices_of_all({strided_shard(0, 3)}, {2}, 7), (Lists{{0, 1, 3, 4, 6}, {2, 5}}));
}

TEST(Layout, EveryIndexIsSomewhereOnce) {
  const std::vector<Placements> all{{shard(0), shard(0), shard(0)},
                                    {strided_shard(0, 6), shard(0), shard(0)},
                                    {strided_shard(0, 2), shard(0), shard(0)},
                                    {strided_shard(0, 4), shard(0), shard(0)},
                                    {shard(0), strided_shard(0, 3), shard(0)}};
  for (const Placements& placements : all) {
    for (int64_t size = 0; size < 40; ++size) {
      std::vector<int64_t> found;
      for (const auto& mine : indices_of_all(placements, {2, 2, 3}, size)) {
        EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
        found.insert(found.end(), mine.begin(), mine.end());
      }
      std::sort(found.begin(), found.end());
      std::vector<int64_t> expected(static_cast<size_t>(size));
      std::iota(expected.begin(), expected.end(), 0);
      EXPECT_EQ(found, expected) << to_string(placements) << " of " << size;
    }
  }
}

TEST(Layout, PositionsSayWhereAPartLies) {
  EXPECT_EQ(positions({{0, 2}, {6, 4}}, {{1, 1}, {6, 2}, {9, 1}}), (Segments{{1, 3}, {5, 1}}));
  EXPECT_EQ(positions({{3, 4}}, {}), Segments{});
}

TEST(Placement, PrintsAsPyTorchDoes) {
  EXPECT_EQ(to_string(Placements{shard(0), replicate(), partial(), strided_shard(1, 4), partial(ReduceOp::kAvg)}),
            "(S(0), R, P(sum), _S(1, 4), P(avg))");
}

}  // namespace
}  // namespace titan::dtensor
