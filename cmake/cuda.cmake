# Kernels for CUDA: compiled by nvcc where it is, and as checked C++ for tests everywhere (docs/cuda.md).

# lathe_cuda(): test_cuda runs src/backend/cuda/**_test.cpp on the emulated device (label cuda_emulated). With nvcc the
# kernels are compiled for every architecture that they are written for; nothing links them yet.
function(lathe_cuda)
  if(LATHE_TESTS)
    find_package(Boost 1.74 REQUIRED COMPONENTS context)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/backend/cuda/*.cpp)
    add_executable(test_cuda ${sources})
    target_link_libraries(test_cuda PRIVATE lathe_backend Boost::context GTest::gtest GTest::gmock GTest::gtest_main)
    target_compile_options(test_cuda PRIVATE $<$<CONFIG:Release>:-O2>)
    target_compile_definitions(test_cuda PRIVATE LATHE_TESTS_DIR="${CMAKE_SOURCE_DIR}/tests")
    add_test(NAME cuda COMMAND test_cuda)
    set_tests_properties(cuda PROPERTIES LABELS cuda_emulated)
  endif()

  find_program(LATHE_NVCC nvcc HINTS /usr/local/cuda/bin)
  if(NOT LATHE_NVCC)
    message(STATUS "no nvcc: CUDA kernels are tested on the emulated device only")
    return()
  endif()
  set(architectures "")
  foreach(architecture 80 86 89 90 90a)
    list(APPEND architectures -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  list(APPEND architectures -gencode arch=compute_90,code=compute_90)  # PTX for what comes later
  set(object ${CMAKE_BINARY_DIR}/cuda_kernels.o)
  set(source ${CMAKE_SOURCE_DIR}/src/backend/cuda/kernels/instances.cu)
  add_custom_command(OUTPUT ${object}
    COMMAND ${LATHE_NVCC} -std=c++20 -O3 -Werror all-warnings ${architectures} -I${CMAKE_SOURCE_DIR}/src -MD -MF ${object}.d
            -c ${source} -o ${object}
    DEPENDS ${source} DEPFILE ${object}.d
    COMMENT "Compiling CUDA kernels for sm_80 to sm_90a" VERBATIM)
  add_custom_target(cuda_kernels ALL DEPENDS ${object})
endfunction()
