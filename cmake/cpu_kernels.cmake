# CPU kernels that are compiled once per tier of instructions.

# lathe_tier_sources(LAYER FOLDER): every src/FOLDER/x_tier.cpp (left out of the layer's own glob) is compiled for
# each tier with LATHE_TIER defined as avx2 or avx512 and joins lathe_LAYER. Such a file keeps all it defines in
# namespace lathe::...::LATHE_TIER or in an anonymous namespace and calls no inline function of another header:
# of several copies of an inline function the linker keeps any one, and that one may hold instructions that the
# machine does not have. The test `tier_symbols` looks for such copies.
#
# Every src/FOLDER/x_amx.cpp is compiled twice in the same manner, on top of avx512: as amx, with the instructions of
# AMX, and as amx_emulated, with tiles in memory (tile_emulation.h), which any machine of avx512 runs.
function(lathe_tier_sources layer folder)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*_tier.cpp)
  if(NOT sources)
    return()
  endif()
  set(avx2_flags -mavx2 -mfma -mf16c -mbmi -mbmi2 -mtune=haswell)
  # gcc prefers 256-bit vectors unless told; -mtune is for scheduling only. gcc 12 takes the deliberately undefined
  # operands in its own AVX-512 headers for mistakes (PR 105593).
  set(avx512_flags ${avx2_flags} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mprefer-vector-width=512
      -mtune=icelake-client -Wno-uninitialized -Wno-maybe-uninitialized)
  set(amx_flags ${avx512_flags} -mamx-tile -mamx-int8 -mamx-bf16)
  set(amx_emulated_flags ${avx512_flags} -DLATHE_EMULATED_TILES)
  file(GLOB amx_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*_amx.cpp)
  get_target_property(dependencies lathe_${layer} LINK_LIBRARIES)
  set(objects "")
  foreach(tier avx2 avx512 amx amx_emulated)
    set(target lathe_${layer}_${tier})
    set(tier_sources ${sources})
    if(tier MATCHES "amx")
      set(tier_sources ${amx_sources})
    endif()
    if(NOT tier_sources)
      continue()
    endif()
    add_library(${target} OBJECT ${tier_sources})
    target_compile_options(${target} PRIVATE ${${tier}_flags})
    target_compile_definitions(${target} PRIVATE LATHE_TIER=${tier})
    target_link_libraries(${target} PRIVATE ${dependencies})
    target_sources(lathe_${layer} PRIVATE $<TARGET_OBJECTS:${target}>)
    list(APPEND objects $<TARGET_OBJECTS:${target}>)
  endforeach()
  # An unoptimised or sanitised build may keep copies that the optimised one inlines, so it is not asked.
  if(LATHE_TESTS AND CMAKE_BUILD_TYPE STREQUAL "Release")
    add_test(NAME tier_symbols COMMAND ${CMAKE_COMMAND} "-DOBJECTS=${objects}" -DNM=${CMAKE_NM}
             -P ${CMAKE_SOURCE_DIR}/cmake/check_tier_symbols.cmake COMMAND_EXPAND_LISTS)
  endif()
endfunction()

# lathe_benchmarks(LAYER FOLDER): every src/FOLDER/x_bench.cpp is a program x_bench, with -DLATHE_BENCHMARKS=ON.
function(lathe_benchmarks layer folder)
  if(NOT LATHE_BENCHMARKS)
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*_bench.cpp)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE lathe_${layer})
    target_compile_definitions(${name} PRIVATE LATHE_TESTS_DIR="${CMAKE_SOURCE_DIR}/tests")
  endforeach()
endfunction()
