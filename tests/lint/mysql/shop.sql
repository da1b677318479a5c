-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
--
-- Host: localhost    Database: shop
-- ------------------------------------------------------
-- Server version	8.0.36

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;

--
-- Table structure for table `articles`
--

DROP TABLE IF EXISTS `articles`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!50503 SET character_set_client = utf8mb4 */;
CREATE TABLE `articles` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `groupId` smallint unsigned DEFAULT NULL,
  `title` varchar(190) COLLATE utf8mb4_unicode_ci NOT NULL DEFAULT '',
  `body` mediumtext COLLATE utf8mb4_unicode_ci,
  `price` decimal(10,2) unsigned NOT NULL DEFAULT '0.00',
  `weight` float DEFAULT NULL,
  `stock` tinyint(1) NOT NULL DEFAULT '1',
  `size` enum('S','M','L','it''s') COLLATE utf8mb4_unicode_ci NOT NULL DEFAULT 'M',
  `flags` set('new','sale') DEFAULT NULL,
  `picture` blob,
  `data` json DEFAULT NULL,
  `visible` bit(1) NOT NULL DEFAULT b'1',
  `year` year DEFAULT NULL,
  `created_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `updated_at` timestamp NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP COMMENT 'last change',
  PRIMARY KEY (`id`),
  UNIQUE KEY `title` (`title`),
  KEY `group_price` (`groupId`,`price` DESC),
  KEY `body` (`body`(100)),
  FULLTEXT KEY `search` (`title`,`body`),
  CONSTRAINT `articles_group_fk` FOREIGN KEY (`groupId`) REFERENCES `groups` (`id`) ON DELETE SET NULL ON UPDATE CASCADE,
  CONSTRAINT `price_is_fair` CHECK ((`price` < 1000000))
) ENGINE=InnoDB AUTO_INCREMENT=4 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='what is sold';
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `articles`
--

LOCK TABLES `articles` WRITE;
/*!40000 ALTER TABLE `articles` DISABLE KEYS */;
INSERT INTO `articles` VALUES (1,1,'Shirt','It\'s a shirt; \"fine\"\nand a \\ line',19.90,0.25,1,'M','new,sale',0x89504E47,'{\"colour\": \"blue\"}',b'1',2024,'2024-01-02 03:04:05','2024-01-02 03:04:05'),(2,NULL,'Hat',NULL,9.00,NULL,0,'S',NULL,_binary 'ab\0c',NULL,_binary '\0',NULL,'2024-01-02 00:00:00',NULL),(3,1,'Caf\u00e9 ü 😀','',0.00,1e3,1,'it\'s','',NULL,NULL,b'0',1999,'2024-02-29 12:00:00','0000-00-00 00:00:00');
/*!40000 ALTER TABLE `articles` ENABLE KEYS */;
UNLOCK TABLES;

DROP TABLE IF EXISTS `groups`;
CREATE TABLE `groups` (
  `id` smallint unsigned NOT NULL AUTO_INCREMENT,
  `name` char(20) CHARACTER SET latin1 NOT NULL,
  `sort` bigint unsigned NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=MyISAM;

INSERT INTO `groups` (`id`, `name`, `sort`) VALUES (1,'Clothes',18446744073709551615);

DROP TABLE IF EXISTS `orders`;
CREATE TABLE `orders` (
  `order_no` varchar(20) NOT NULL,
  `line` int NOT NULL,
  `article` int unsigned NOT NULL,
  `amount` double NOT NULL,
  `total` decimal(12,2) GENERATED ALWAYS AS ((`amount` * 2)) STORED,
  PRIMARY KEY (`order_no`,`line`),
  KEY `article` (`article`),
  CONSTRAINT `orders_ibfk_1` FOREIGN KEY (`article`) REFERENCES `articles` (`id`)
) ENGINE=InnoDB;

DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER `articles_bi` BEFORE INSERT ON `articles` FOR EACH ROW BEGIN
  SET NEW.title = TRIM(NEW.title);
END */;;
DELIMITER ;

/*!50001 CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`localhost` SQL SECURITY DEFINER VIEW `cheap` AS select `articles`.`id` AS `id`,`articles`.`title` AS `title` from `articles` where (`articles`.`price` < 10) */;
/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
-- Dump completed on 2024-03-01 12:00:00
