-- phpMyAdmin SQL Dump
-- version 5.2.1
SET SQL_MODE = "NO_AUTO_VALUE_ON_ZERO";
START TRANSACTION;
SET time_zone = "+00:00";

CREATE DATABASE IF NOT EXISTS `club` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
USE `club`;

CREATE TABLE `members` (
  `id` int(11) NOT NULL,
  `email` varchar(255) NOT NULL,
  `born` date DEFAULT '0000-00-00',
  `note` text DEFAULT NULL,
  `paid` tinyint(1) DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

INSERT INTO `members` (`id`, `email`, `born`, `note`, `paid`) VALUES
(1, 'ann@example.com', '1980-01-01', 'said "hello"', 1),
(2, 'bob@example.com', '0000-00-00', NULL, 0);

CREATE TABLE `visits` (
  `member` int(11) NOT NULL,
  `day` date NOT NULL,
  `place` point DEFAULT NULL
) ENGINE=InnoDB;

CREATE TABLE `fees` (
  `member` int(11) NOT NULL,
  `year` smallint(6) NOT NULL,
  `amount` decimal(8,2) NOT NULL
) ENGINE=InnoDB;

INSERT IGNORE INTO `fees` VALUES (1, 2024, 50.00);
INSERT INTO `fees` (`member`, `year`, `amount`) VALUES (1, 2024, 60.00) ON DUPLICATE KEY UPDATE `amount` = VALUES(`amount`);
REPLACE INTO `fees` VALUES (2, 2024, 10.00);

ALTER TABLE `members`
  ADD PRIMARY KEY (`id`),
  ADD UNIQUE KEY `email` (`email`);

ALTER TABLE `fees`
  ADD PRIMARY KEY (`member`,`year`),
  ADD KEY `amount` (`amount`);

ALTER TABLE `members`
  MODIFY `id` int(11) NOT NULL AUTO_INCREMENT, AUTO_INCREMENT=3;

ALTER TABLE `fees`
  ADD CONSTRAINT `fees_ibfk_1` FOREIGN KEY (`member`) REFERENCES `members` (`id`) ON DELETE CASCADE;
COMMIT;
